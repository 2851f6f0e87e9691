"""The Triton backend in Triton's interpreter: the bits of the reference, as on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import expansive as ex
from cases import DTYPES, assert_same_bits, blobs, cast
from expansive.arrays import as_rows
from expansive.backends import reference
from expansive.backends.registry import get_backend
from test_philox import ROWS, SEEDS, draw_by_hand, tables
from test_synthesis import METHODS

pytestmark = pytest.mark.train

Plan = ex.SynthesisPlan

# ---- synthesis --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_draw_follows_the_contract(seed: int) -> None:
    p = tables(seed)
    drawn = get_backend("triton").draw(p, np.array(ROWS), np.float32)
    assert list(zip(*(a.tolist() for a in drawn), strict=True)) == [
        draw_by_hand(p, row) for row in ROWS
    ]


@pytest.mark.parametrize("expansion", [(0.0, 1.0), (0.25, 0.75), (-0.5, 1.5), (0.1, 0.1), (1, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_have_the_bits_of_the_reference(expansion: tuple[float, float], dtype: Any) -> None:
    p = tables(42, *expansion)
    rows = np.random.default_rng(0).integers(0, 2**44, 3000)
    got, expected = (get_backend(b).draw(p, rows, dtype) for b in ("triton", "reference"))
    for name, a, b in zip(("base", "partner", "weight"), got, expected, strict=True):
        assert_same_bits(a, b, name)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_synthetic_rows_have_the_bits_of_the_reference(method: str, dtype: str) -> None:
    x, y = blobs(dtype=dtype, d=19)
    plan, expected = (METHODS[method](x, y, seed=3, backend=b) for b in ("triton", "reference"))
    for name, a, b in zip(
        ("base", "partner", "weight"), plan.recipe(), expected.recipe(), strict=True
    ):
        assert_same_bits(a, b, name)
    for out_dtype in (None, *DTYPES):
        got = plan.generate(x, dtype=out_dtype)
        assert_same_bits(got, expected.generate(x, dtype=out_dtype), str(out_dtype))


@pytest.mark.parametrize("d", [1, 7, 8, 33, 300])
def test_synthesis_of_every_feature_count(d: int) -> None:
    for dtype, out_dtype in zip(DTYPES, DTYPES[::-1], strict=True):
        x, y = blobs((20, 5), d, dtype)
        made = [
            Plan.random(x, y, backend=b).generate(x, dtype=out_dtype)
            for b in ("triton", "reference")
        ]
        assert_same_bits(*made, f"{dtype} to {out_dtype}")


@pytest.mark.parametrize("scale", [1e-45, 1e-42, 1e-38, 1e-20, 1e-8, 1.0, 1e4, 6e4, 1e18, 3e38])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_synthesis_of_every_magnitude(scale: float, dtype: str) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 20])
    x = cast(rng.uniform(-1, 1, (80, 9)) * scale, dtype)
    plan, expected = (
        Plan.smote(x, y, expansion=(-0.5, 1.5), backend=b) for b in ("triton", "reference")
    )
    with np.errstate(over="ignore"):
        for out_dtype in DTYPES:
            got, wanted = plan.generate(x, dtype=out_dtype), expected.generate(x, dtype=out_dtype)
            assert_same_bits(got, wanted, out_dtype)


def test_any_rows_in_any_order() -> None:
    x, y = blobs()
    plan = Plan.random(x, y, seed=11, backend="triton")
    everything = plan.generate(x)
    for rows in ([], [5], [7, 7, 0, plan.n_samples - 1]):
        assert_same_bits(plan.generate_rows(x, rows), everything[np.array(rows, np.int64)])
    out = np.empty_like(everything[3:9])
    assert plan.generate(x, 3, 9, out=out) is out
    assert_same_bits(out, everything[3:9])


# ---- checks of the data -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (101, 33)])
def test_fingerprint_and_scan_are_those_of_the_reference(
    dtype: str, shape: tuple[int, int]
) -> None:
    data = cast(np.random.default_rng(0).normal(size=shape), dtype)
    for frozen in (False, True):
        data.flags.writeable = not frozen
        rows = as_rows(data)
        assert get_backend("triton").fingerprint(rows, 1) == reference.fingerprint(rows, 1)
        assert get_backend("triton").scan(rows, 1) == reference.scan(rows, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_row_that_is_not_finite_is_named(bad: float) -> None:
    x = np.ones((9, 3), np.float32)
    x[[4, 7], 1] = bad
    with pytest.raises(ValueError, match=r"x\[4\] holds NaN or infinity"):
        ex.Index(x, backend="triton")
