"""The reference itself, against exact fractions and a second, independent search."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import expansive as ex
from cases import DTYPES, LABELINGS, METRICS, PLAIN_RTOL, RELATIONS, cast, expected_search
from expansive.arrays import Rows, as_rows
from expansive.backends import reference

# ---- fused multiply-add -----------------------------------------------------------------------

# Within the range of differences of accepted input: products stay finite.
doubles = st.floats(-(2.0**501), 2.0**501)
singles = st.floats(-(2.0**60), 2.0**60, width=32)


def rounded(exact: Fraction) -> float:
    """Round to nearest even; Python's integer division is correctly rounded."""
    return exact.numerator / exact.denominator


def exact_fma(a: float, b: float, c: float) -> float:
    return rounded(Fraction(a) * Fraction(b) + Fraction(c))


def fma(a: float, b: float, c: float) -> float:
    return float(reference.fma(np.array([a]), np.array([b]), np.array([c]))[0])


def rounded32(exact: Fraction) -> float:
    """Round to float32, to nearest even, from the definition: a multiple of the last place."""
    if exact == 0:
        return 0.0
    exponent = math.frexp(rounded(abs(exact)))[1]  # may be one too large: corrected below
    while abs(exact) < Fraction(2) ** (exponent - 1):
        exponent -= 1
    ulp = Fraction(2) ** max(exponent - 24, -149)
    return rounded(round(exact / ulp) * ulp)


def fma32(a: float, b: float, c: float) -> float:
    a32, b32, c32 = (np.array([v], np.float32) for v in (a, b, c))
    return float(reference.fma32(a32, b32, c32)[0])


@settings(max_examples=600)
@given(doubles, doubles, doubles)
def test_fma_of_any_doubles(a: float, b: float, c: float) -> None:
    assert fma(a, b, c) == exact_fma(a, b, c)


@settings(max_examples=400)
@given(doubles, st.floats(-1e3, 1e3), st.integers(-3, 3))
def test_fma_under_cancellation(a: float, b: float, ulps: int) -> None:
    c = -(a * b)
    for _ in range(abs(ulps)):
        c = math.nextafter(c, math.copysign(math.inf, ulps))
    assert fma(a, b, c) == exact_fma(a, b, c)


@settings(max_examples=400)
@given(
    st.integers(-(2**53), 2**53),
    st.integers(-560, -480),
    st.integers(-(2**53), 2**53),
    st.integers(-560, -480),
    st.integers(-(2**53), 2**53),
    st.integers(-1074, -900),
)
def test_fma_around_underflow(a: int, i: int, b: int, j: int, c: int, k: int) -> None:
    x, y, z = math.ldexp(a, i), math.ldexp(b, j), math.ldexp(c, k)
    assert fma(x, y, z) == exact_fma(x, y, z)


@settings(max_examples=400)
@given(doubles, st.integers(-120, 120), st.integers(0, 2**53))
def test_fma_next_to_a_halfway_case(a: float, shift: int, low: int) -> None:
    """A product that is half a unit in the last place of the addend, or nearly."""
    b = math.ldexp(1.0, -53) + math.ldexp(low, shift - 220)
    assert fma(a, b, a) == exact_fma(a, b, a)


@settings(max_examples=600)
@given(singles, singles, singles)
def test_fma32_of_any_singles(a: float, b: float, c: float) -> None:
    assert fma32(a, b, c) == rounded32(Fraction(a) * Fraction(b) + Fraction(c))


@settings(max_examples=400)
@given(st.floats(0, 1, width=32), singles, st.integers(-2, 2))
def test_fma32_under_cancellation_and_at_halves(u: float, a: float, ulps: int) -> None:
    c = np.float32(-(np.float32(u) * np.float32(a)))
    for _ in range(abs(ulps)):
        c = np.nextafter(c, np.float32(math.copysign(math.inf, ulps)))
    expected = rounded32(Fraction(u) * Fraction(a) + Fraction(float(c)))
    assert fma32(u, a, float(c)) == expected


# ---- distances --------------------------------------------------------------------------------


def contract_distance(a: list[float], b: list[float]) -> float:
    """The contract once more, in fractions: eight strided partial sums, a fixed tree."""
    lanes = [0.0] * 8
    for j, (p, q) in enumerate(zip(a, b, strict=True)):
        lanes[j % 8] = exact_fma(p - q, p - q, lanes[j % 8])
    four = [lanes[i] + lanes[i + 4] for i in range(4)]
    return (four[0] + four[2]) + (four[1] + four[3])


@pytest.mark.parametrize("d", [1, 2, 7, 8, 9, 17, 33])
@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e18, 1e-160, 1e-310, 2.0**500])
def test_distances_follow_the_contract(d: int, scale: float) -> None:
    x = np.random.default_rng(d).uniform(-1, 1, (6, d)) * scale
    squares = reference.squared_distances(x, x)
    expected = [[contract_distance(a, b) for b in x.tolist()] for a in x.tolist()]
    assert squares.tolist() == expected


@pytest.mark.parametrize("d", [1, 5, 8, 31, 100])
def test_distances_are_close_to_plain_sums(d: int) -> None:
    x = np.random.default_rng(d).normal(size=(40, d)) + 3
    plain = ((x[:, None] - x[None]) ** 2).sum(-1)
    np.testing.assert_allclose(reference.squared_distances(x, x), plain, PLAIN_RTOL)


def test_row_scales_are_close_to_numpy() -> None:
    x = np.random.default_rng(0).normal(size=(40, 13))
    np.testing.assert_allclose(reference.row_scales(x), 1 / np.linalg.norm(x, axis=1), PLAIN_RTOL)


# ---- search, written a second time ------------------------------------------------------------


def second_search(
    x: Any, y: Any, k: int, relation: str
) -> tuple[list[list[float]], list[list[int]]]:
    """Integers, tuples and sorted(): exact whatever the order of summation."""
    rows, labels = x.astype(int).tolist(), y.tolist()
    distances, numbers = [], []
    for i, a in enumerate(rows):
        found = sorted(
            (sum((p - q) ** 2 for p, q in zip(a, b, strict=True)), j)
            for j, b in enumerate(rows)
            if j != i
            and {"any": True, "friend": labels[i] == labels[j]}.get(
                relation, labels[i] != labels[j]
            )
        )[:k]
        found += [(math.inf, -1)] * (k - len(found))
        distances.append([d for d, _ in found])
        numbers.append([j for _, j in found])
    return distances, numbers


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("labeling", LABELINGS)
@pytest.mark.parametrize("k", [1, 5, 60])
def test_search_against_a_second_one(relation: str, labeling: str, k: int) -> None:
    x, y, (dist, idx) = expected_search(
        "small_integers", labeling, 41, 6, "float32", "sqeuclidean", relation, k
    )
    distances, numbers = second_search(x, y, k, relation)
    assert idx.tolist() == numbers
    assert dist.tolist() == distances


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
def test_metrics_against_sklearn(dtype: str, metric: str) -> None:
    from sklearn.metrics import pairwise_distances

    x, _, (dist, idx) = expected_search("normal", "two_classes", 50, 9, dtype, metric, "any", 49)
    plain = pairwise_distances(x.astype(np.float64), metric=metric)
    np.fill_diagonal(plain, np.inf)
    assert dist.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_allclose(
        dist, np.sort(plain, axis=1)[:, :-1], rtol=1e-9 if dtype == "float64" else 1e-6, atol=1e-12
    )
    np.testing.assert_array_equal(np.sort(idx, axis=1)[0], np.arange(1, 50))


# ---- rounding of results ----------------------------------------------------------------------


@pytest.mark.parametrize("source", [np.float32, np.float64])
def test_bfloat16_rounds_once_to_nearest_even(source: Any) -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [
            rng.normal(size=4000) * 10.0 ** rng.uniform(-40, 38, 4000),
            # Halves between neighbours of bfloat16, and the least bit beside them.
            1 + np.arange(256) / 256 + 1 / 512,
            1 + np.arange(256) / 256 + 1 / 512 + 2.0**-40,
            1 + np.arange(256) / 256 + 1 / 512 - 2.0**-40,
            [0.0, -0.0, 3.3895e38, -3.3895e38, 3.4e38, 1e-45, -1e-41],
        ]
    ).astype(source)
    out = Rows(np.empty((1, len(values)), np.uint16), "bfloat16", lambda r: r)
    reference.store(values[None], out)
    for value, stored in zip(values.tolist(), out.data[0].tolist(), strict=True):
        assert stored == nearest_bfloat16(value), value


def nearest_bfloat16(value: float) -> int:
    """The bits of the nearest bfloat16, ties to even, by comparing exact distances."""
    sign = 0x8000 if math.copysign(1, value) < 0 else 0
    low = int(np.array([abs(value)], np.float64).astype(np.float32).view(np.uint32)[0] >> 16)
    low = max(low - 1, 0)
    candidates = range(low, low + 3)
    distance = {b: abs(_bfloat16_value(b) - Fraction(abs(value))) for b in candidates}
    return sign | min(candidates, key=lambda b: (distance[b], b & 1))


def _bfloat16_value(word: int) -> Fraction:
    if word == 0x7F80:
        return Fraction(2) ** 128
    return Fraction(float(np.array([word << 16], np.uint32).view(np.float32)[0]))


# ---- scan and fingerprint ---------------------------------------------------------------------


def fingerprint_by_hand(raw: bytes) -> int:
    def mix(word: int) -> int:
        word = (word + 0x9E3779B97F4A7C15) % 2**64
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
        return word ^ (word >> 31)

    raw += bytes(-len(raw) % 8)
    words = [int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8)]
    return sum(mix(word ^ mix(i)) for i, word in enumerate(words)) % 2**64


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (5, 7), (8, 8)])
def test_fingerprint_by_hand(dtype: str, shape: tuple[int, int]) -> None:
    rows = as_rows(cast(np.random.default_rng(0).normal(size=shape), dtype))
    assert reference.fingerprint(rows, 1) == fingerprint_by_hand(rows.data.tobytes())


def test_neighbors_of_one_row() -> None:
    dist, idx = ex.neighbors(np.ones((1, 3)), None, 2, "any", backend="reference")
    assert dist.tolist() == [[math.inf, math.inf]]
    assert idx.tolist() == [[-1, -1]]
