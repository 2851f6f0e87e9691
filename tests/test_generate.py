"""Where a plan writes its rows, and the data it belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import expansive as ex
from cases import (
    BACKENDS_UNDER_TEST,
    DTYPES,
    all_backends,
    assert_same_bits,
    bits,
    blobs,
    cast,
)
from expansive.arrays import as_rows
from expansive.backends import reference

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
