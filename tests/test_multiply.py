"""Products of two matrices' rows, from which directions to look along are guessed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cases import ISAS, isa
from expansive import _core

SHAPES = [(1, 1, 1), (7, 3, 5), (50, 33, 130), (49, 160, 257), (100, 70, 1000)]


def operands(n: int, m: int, d: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(d)
    return rng.standard_normal((n, d), np.float32), rng.standard_normal((m, d), np.float32)


@pytest.mark.parametrize("isa_name", ISAS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_products_are_right_to_two_digits(
    n: int, m: int, d: int, threads: int, isa_name: str
) -> None:
    a, b = operands(n, m, d)
    with isa(isa_name):
        products = _core.multiply(a, b, threads)
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    error = np.abs(products - a.astype(np.float64) @ b.T.astype(np.float64))
    assert (error <= 2.0**-8 * lengths).all()


@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_transposed_and_sliced_operands_give_the_same_products(n: int, m: int, d: int) -> None:
    a, b = operands(n, m, d)
    products = _core.multiply(a, b, 2)
    transposed = np.ascontiguousarray(a.T).T, np.ascontiguousarray(b.T).T
    assert np.array_equal(_core.multiply(*transposed, 2), products)
    sliced = np.repeat(a, 2, axis=0)[::2], np.repeat(b, 3, axis=1)[:, ::3]
    assert np.array_equal(_core.multiply(*sliced, 2), products)


def test_whole_numbers_are_multiplied_exactly() -> None:
    a = np.arange(-60, 60, dtype=np.float32).reshape(4, 30)
    assert np.array_equal(_core.multiply(a, a[:2], 1), a @ a[:2].T)


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        _core.multiply(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32), 1)
