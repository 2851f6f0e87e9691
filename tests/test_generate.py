"""Where a plan writes its rows, and the data it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import expansive as ex
from cases import (
    BACKENDS_UNDER_TEST,
    DTYPES,
    PLAN_METHODS,
    Array,
    all_backends,
    assert_same_bits,
    bits,
    blobs,
    cast,
)
from expansive import arrays
from expansive.arrays import as_rows
from expansive.backends import reference
from expansive.synthesis import fingerprints

Plan = ex.SynthesisPlan


# ---- out= -------------------------------------------------------------------------------------


@all_backends
@pytest.mark.parametrize("dtype", DTYPES)
def test_out_is_filled_and_returned(backend: str, dtype: str) -> None:
    x, y = blobs()
    plan = Plan.eos(x, y, backend=backend)
    whole = cast(np.zeros((plan.n_samples + 2, 6)), dtype)
    out = whole[1:-1]
    assert plan.generate(x, out=out) is out
    assert_same_bits(out, plan.generate(x, dtype=dtype))
    assert not whole[[0, -1]].any()


def refused_outputs() -> dict[str, Any]:
    frozen = np.zeros((63, 6), np.float32)
    frozen.flags.writeable = False
    return {
        "too short": (np.zeros((62, 6), np.float32), r"out has shape \(62, 6\).*\(63, 6\)"),
        "one dimension": (np.zeros(63 * 6, np.float32), r"out has shape"),
        "integers": (np.zeros((63, 6), np.int64), "out must be"),
        "big-endian": (np.zeros((63, 6), ">f4"), "out must be"),
        "fortran": (np.zeros((63, 6), np.float32, "F"), "out must be"),
        "strided": (np.zeros((126, 6), np.float32)[::2], "out must be"),
        "read-only": (frozen, "out must be"),
        "a list": ([[0.0] * 6] * 63, "out must be"),
    }


@pytest.mark.parametrize("kind", refused_outputs())
def test_out_that_cannot_be_written_in_place_is_refused(kind: str) -> None:
    out, message = refused_outputs()[kind]
    x, y = blobs()
    with pytest.raises(ValueError, match=message):
        Plan.eos(x, y).generate(x, out=out)
    assert not np.any(out)


def test_out_with_another_dtype_is_refused() -> None:
    x, y = blobs()
    plan = Plan.eos(x, y)
    with pytest.raises(TypeError, match="out holds float32 but dtype is float16"):
        plan.generate(x, out=np.zeros((63, 6), np.float32), dtype="float16")


def test_out_that_overlaps_x_is_refused() -> None:
    x, y = blobs((40, 39))
    before = x.copy()
    with pytest.raises(ValueError, match="out overlaps x"):
        Plan.eos(x, y).generate(x, out=x[:1])
    assert_same_bits(x, before)


@pytest.mark.train
def test_torch_out_that_cannot_be_written_in_place_is_refused() -> None:
    import torch

    x, y = blobs()
    plan = Plan.eos(x, y)
    for dtype in (torch.bfloat16, torch.float32):
        with pytest.raises(ValueError, match="out must be"):
            plan.generate(x, out=torch.zeros(6, 63, dtype=dtype).t())


# ---- a plan and its data ----------------------------------------------------------------------


@all_backends
def test_other_data_is_refused(backend: str) -> None:
    x, y = blobs()
    plan = Plan.eos(x, y, backend=backend)
    plan.generate(x)
    other = x.copy()
    other[17, 3] = np.nextafter(other[17, 3], np.float32(9))
    with pytest.raises(ValueError, match=r"fingerprint differs.*make a new plan"):
        plan.generate(other)
    with pytest.raises(ValueError, match="fingerprint differs"):
        plan.generate(x[::-1])
    with pytest.raises(ValueError, match=r"x is float64 \(57, 6\).*float32 \(57, 6\)"):
        plan.generate(x.astype(np.float64))
    with pytest.raises(ValueError, match=r"x is float32 \(56, 6\).*\(57, 6\)"):
        plan.generate(x[1:])
    assert_same_bits(plan.generate(x.copy()), plan.generate(x))
    assert_same_bits(plan.generate(np.asfortranarray(x)), plan.generate(x))


@all_backends
def test_data_changed_in_place_is_refused(backend: str) -> None:
    x, y = blobs((300, 12))
    plan = Plan.eos(x, y, backend=backend)
    first = plan.generate(x, 0, 5)
    x += 1
    with pytest.raises(ValueError, match="fingerprint differs"):
        plan.generate(x, 0, 5)
    x -= 1
    x[:] = blobs((300, 12))[0]
    assert_same_bits(plan.generate(x, 0, 5), first)


def test_all_rows_are_hashed_once_for_each_array(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs((300, 12))
    plan = Plan.eos(x, y, backend="reference")
    hashed: list[int] = []
    fingerprint = reference.fingerprint

    def spy(rows: Any, threads: int) -> int:
        hashed.append(len(rows.data))
        return fingerprint(rows, threads)

    monkeypatch.setattr(reference, "fingerprint", spy)
    for start in range(4):
        plan.generate(x, start, start + 1)
    assert hashed.count(len(x)) == 1
    assert max(hashed, key=hashed.count) < len(x) / 4
    other = x.copy()
    other[1] += 1  # among the many that the sample leaves out
    with pytest.raises(ValueError, match="fingerprint differs"):
        plan.generate(other, 0, 1)


CONVERTED: dict[str, Callable[[Array], Array]] = {
    "integers": lambda x: (9 * x).astype(np.int16),
    "bytes": lambda x: (9 * np.abs(x)).astype(np.uint8),
    "booleans": lambda x: x > 0.5,
    "fortran float32": lambda x: np.asfortranarray(x, np.float32),
    "fortran float64": np.asfortranarray,
    "big-endian": lambda x: x.astype(">f4"),
    "every other feature": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("backend", BACKENDS_UNDER_TEST)
@pytest.mark.parametrize("kind", CONVERTED)
@pytest.mark.parametrize("method", PLAN_METHODS)
def test_small_slices_of_data_that_are_converted_have_the_same_bits(
    backend: str, kind: str, method: str
) -> None:
    x, y = blobs((300, 60), dtype="float64")
    x = CONVERTED[kind](x)
    plan = PLAN_METHODS[method](x, y, backend=backend, seed=3)
    whole = plan.generate(x)
    numbers = np.array([239, 5, 5, 100])
    assert_same_bits(plan.generate_rows(x, numbers), whole[numbers])
    assert_same_bits(plan.generate(x, 7, 7), whole[7:7])
    for dtype in DTYPES:
        expected = plan.generate(x, dtype=dtype)[11:19]
        out = np.empty_like(expected)
        assert plan.generate(x, 11, 19, out, dtype) is out
        assert_same_bits(out, expected)
    with pytest.raises(ValueError, match="out has shape"):
        plan.generate(x, 11, 20, out)


@pytest.mark.parametrize("kind", CONVERTED)
def test_small_slices_convert_few_rows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs((3000, 60), dtype="float64")
    x = CONVERTED[kind](x)
    plan = Plan.random(x, y)
    plan.generate(x, 0, 1)
    seen: list[int] = []
    for owner in (arrays, fingerprints):
        monkeypatch.setattr(owner, "as_rows", lambda x, **o: seen.append(len(x)) or as_rows(x, **o))
    plan.generate(x, 0, 9)
    plan.generate_rows(x, [2500, 1, 800])
    assert len(seen) == 4
    assert max(seen) <= 64
    for count in (0, len(x) // 4):
        plan.generate(x, 0, count)
        assert seen[-1] == len(x)


@pytest.mark.parametrize("kind", CONVERTED)
def test_other_data_that_are_converted_are_refused(kind: str) -> None:
    x, y = blobs((300, 60), dtype="float64")
    x = CONVERTED[kind](x)
    plan = Plan.eos(x, y)
    first = plan.generate(x, 0, 5)
    other = x.copy(order="K")
    assert_same_bits(plan.generate(other, 0, 5), first)
    other[1] = ~other[1] if x.dtype == bool else other[1] + 1  # not sampled
    with pytest.raises(ValueError, match="fingerprint differs"):
        plan.generate(other.copy(order="K"), 0, 5)
    x[:] = ~x if x.dtype == bool else x + 1
    with pytest.raises(ValueError, match="fingerprint differs"):
        plan.generate(x, 0, 5)


def test_another_shape_given_in_place_is_refused() -> None:
    x, y = blobs((50, 14))
    x = (9 * x).astype(np.int16)
    plan = Plan.eos(x, y)
    plan.generate(x, 0, 1)
    x.resize((6, 64), refcheck=False)
    with pytest.raises(ValueError, match=r"x is float64 \(6, 64\) but this plan was made from"):
        plan.generate(x, 0, 1)


def test_masks_put_on_data_that_are_converted_are_refused() -> None:
    x, y = blobs((300, 60))
    masked = np.ma.array((9 * x).astype(np.int16))
    plan = Plan.eos(masked, y)
    plan.generate(masked, 0, 5)
    masked[1] = np.ma.masked
    with pytest.raises(ValueError, match="x has masked values"):
        plan.generate(masked, 0, 5)


@all_backends
def test_lists_in_arrays_out(backend: str) -> None:
    x, y = blobs()
    wide = x.astype(np.float64)
    plan = Plan.eos(x.tolist(), y.tolist(), backend=backend)
    for _ in range(2):
        assert_same_bits(plan.generate(x.tolist()), Plan.eos(wide, y).generate(wide))


def test_fingerprints_agree_between_backends() -> None:
    from expansive.backends.registry import get_backend

    rng = np.random.default_rng(0)
    for dtype in DTYPES:
        for shape in ((1, 1), (3, 5), (101, 33), (5000, 7)):
            rows = as_rows(cast(rng.normal(size=shape), dtype))
            expected = reference.fingerprint(rows, 1)
            for backend in BACKENDS_UNDER_TEST:
                for threads in (1, 2, 3):
                    assert get_backend(backend).fingerprint(rows, threads) == expected


def test_bits_tell_zeros_apart() -> None:
    """The comparison these tests rest on."""
    assert bits(np.array([0.0])) != bits(np.array([-0.0]))
    with pytest.raises(AssertionError, match="1 of 2 differ"):
        assert_same_bits(np.array([0.0, 1.0]), np.array([-0.0, 1.0]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_new_output_begins_at_a_cache_line(dtype: str) -> None:
    x, y = blobs()
    plan = ex.SynthesisPlan.eos(x, y)
    assert plan.generate(x, 0, 3, dtype=dtype).ctypes.data % 64 == 0
