"""The readable reference: NumPy, float64, no shortcuts.

Every other backend must give these indices and these bits. It favours clarity over speed: search
forms every distance directly, in the fixed order of the package's contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive.arrays import Rows
from expansive.backends.registry import Expected, Partners, RowNumbers

TAKES_DEVICE_ARRAYS = False

Float64 = NDArray[np.float64]

LANES = 8
"""Partial sums of a distance: component j adds to sum j mod LANES."""

_BLOCK = 1 << 15  # pairs of a query and a row whose distances are summed at once


def unavailable() -> str | None:
    """Say why this backend cannot run here: never."""
    return None


def describe() -> str:
    """Say what it runs on."""
    return f"NumPy {np.__version__}, for checking, not for speed"


# ---- exact arithmetic -------------------------------------------------------------------------


def fma(a: Float64, b: Float64, c: Float64) -> Float64:
    """Fused multiply-add a*b + c, rounded once, elementwise.

    Emulated with error-free transformations and a rounding to odd (Boldo and Melquiond, "Emulation
    of a FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE Trans.
    Computers 57(4), 2008); products whose error term would underflow are done as fractions.
    """
    a, b, c = np.broadcast_arrays(a, b, c)
    product, product_error = two_product(a, b)
    low_sum, low_error = two_sum(c, product_error)
    high, middle = two_sum(product, low_sum)
    result: Float64 = high + _add_to_odd(middle, low_error)
    tiny = (np.abs(product) < 2.0**-960) & (a != 0) & (b != 0)
    for where in zip(*np.nonzero(tiny), strict=True):
        exact = Fraction(float(a[where])) * Fraction(float(b[where])) + Fraction(float(c[where]))
        result[where] = exact.numerator / exact.denominator
    return result


def fma32(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> Any:
    """Fused multiply-add in float32: the product is exact in float64, the sum rounds to odd."""
    product = a.astype(np.float64) * b.astype(np.float64)
    return _add_to_odd(product, c.astype(np.float64)).astype(np.float32)


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """Give a + b in float64 and its rounding error; of arrays of any library."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """Give a * b in float64 and its rounding error; of arrays of any library."""
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    product = a * b
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def _split(a: Any) -> tuple[Any, Any]:
    high = 134217729.0 * a
    high = high - (high - a)
    return high, a - high


def _add_to_odd(a: Float64, b: Float64) -> Float64:
    """Give a + b; an inexact result takes the neighbour whose last bit is 1."""
    total, error = two_sum(a, b)
    bits = np.ascontiguousarray(total).view(np.int64)
    step = np.where((error > 0) == (total > 0), 1, -1)  # to the next number away from zero, or back
    moves = (np.abs(error) > 0) & ((bits & 1) == 0)
    odd: NDArray[np.int64] = np.where(moves, bits + step, bits)
    return odd.view(np.float64)


# ---- arrays -----------------------------------------------------------------------------------


def to_float64(x: Rows) -> Float64:
    """Give the rows' values exactly."""
    return x.widened().astype(np.float64)


def scan(x: Rows, threads: int) -> tuple[int, float]:
    """Give the first row with NaN or infinity (or -1) and the largest magnitude."""
    values = to_float64(x)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    return (int(bad[0]), np.inf) if len(bad) else (-1, float(np.abs(values).max()))


def fingerprint(x: Rows, threads: int) -> int:
    """Sum of mixed 64-bit words (splitmix64 of word xor mixed position), modulo 2**64.

    A sum, so that any number of threads and any order give the same value.
    """
    raw = np.frombuffer(np.ascontiguousarray(x.data).tobytes(), np.uint8)
    words = np.concatenate([raw, np.zeros(-len(raw) % 8, np.uint8)]).view(np.uint64)
    position = np.arange(len(words), dtype=np.uint64)
    return int(np.add.reduce(_mix(words ^ _mix(position))))


def _mix(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix by the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    word = word + np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = word ^ (word >> np.uint64(31))
    return mixed


# ---- search -----------------------------------------------------------------------------------


def squared_distances(a: Float64, b: Float64) -> Float64:
    """Direct sums of (a - b)**2, [rows of a, rows of b], in the contract's fixed order."""
    sums = np.zeros((LANES, len(a), len(b)))
    for j in range(a.shape[1]):
        difference = a[:, None, j] - b[None, :, j]
        sums[j % LANES] = fma(difference, difference, sums[j % LANES])
    return fold_lanes(sums)


def fold_lanes(sums: Float64) -> Float64:
    """Add the eight partial sums as a tree: halves, then quarters, then the pair."""
    halves = sums[:4] + sums[4:]
    quarters = halves[:2] + halves[2:]
    total: Float64 = quarters[0] + quarters[1]
    return total


def row_scales(x: Float64) -> Float64:
    """Reciprocal Euclidean norms; the squares are summed in the order of a distance."""
    sums = np.zeros((LANES, len(x)))
    for j in range(x.shape[1]):
        sums[j % LANES] = fma(x[:, j], x[:, j], sums[j % LANES])
    scales: Float64 = 1.0 / np.sqrt(fold_lanes(sums))
    return scales


@dataclass(frozen=True)
class Index:
    """The rows in float64 (unit length for cosine) and their class codes."""

    x: Float64
    codes: NDArray[np.int64] | None
    metric: str
    wide: bool

    def search(
        self,
        queries: Rows,
        codes: NDArray[np.int64] | None,
        own_rows: NDArray[np.int64] | None,
        k: int,
        relation: str,
        threads: int,
        memory_budget: int,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Sort every candidate of every query by (squared distance, row number)."""
        q = _metric_rows(to_float64(queries), self.metric)
        wide = self.wide or queries.dtype == "float64"
        distance = np.full((len(q), k), np.inf, np.float64 if wide else np.float32)
        index = np.full((len(q), k), -1, np.int64)
        block = max(1, _BLOCK // len(self.x))
        for start in range(0, len(q), block):
            squares = squared_distances(q[start : start + block], self.x)
            for row, values in enumerate(squares, start):
                candidates = self._candidates(codes, own_rows, row, relation)
                order = candidates[np.lexsort((candidates, values[candidates]))][:k]
                with np.errstate(over="ignore"):  # beyond the output's range: infinity
                    distance[row, : len(order)] = finish(values[order], self.metric)
                index[row, : len(order)] = order
        return distance, index

    def _candidates(
        self,
        codes: NDArray[np.int64] | None,
        own_rows: NDArray[np.int64] | None,
        row: int,
        relation: str,
    ) -> NDArray[np.int64]:
        allowed = np.ones(len(self.x), bool)
        if relation != "any":
            assert self.codes is not None
            assert codes is not None
            allowed = (self.codes == codes[row]) == (relation == "friend")
        if own_rows is not None:
            allowed[own_rows[row]] = False
        return np.flatnonzero(allowed)


def finish(squares: Float64, metric: str) -> Float64:
    """Turn squared distances into the metric's distance, in float64."""
    if metric == "euclidean":
        return np.sqrt(squares)
    return squares * 0.5 if metric == "cosine" else squares


def _metric_rows(x: Float64, metric: str) -> Float64:
    return x * row_scales(x)[:, None] if metric == "cosine" else x


def build_index(
    x: Rows,
    largest: float,
    codes: NDArray[np.int64] | None,
    n_classes: int,
    metric: str,
    expected: Expected,
    threads: int,
    memory_budget: int,
) -> Index:
    """Make rows ready for the searches expected."""
    return Index(_metric_rows(to_float64(x), metric), codes, metric, x.dtype == "float64")


# ---- synthesis --------------------------------------------------------------------------------


def philox4x32(counter: NDArray[np.uint64], seed: int) -> list[NDArray[np.uint64]]:
    """Philox4x32-10 (Salmon et al., SC 2011) of the counters (low, high, 0, 0), key = seed.

    Returns the four 32-bit words of each counter, held in uint64.
    """
    mask = np.uint64(0xFFFFFFFF)
    return philox_rounds(
        [counter & mask, counter >> np.uint64(32), counter * np.uint64(0), counter * np.uint64(0)],
        seed & 0xFFFFFFFF,
        seed >> 32,
    )


def philox_rounds(
    words: list[NDArray[np.uint64]], key0: int, key1: int
) -> list[NDArray[np.uint64]]:
    """Ten rounds over the four words of a counter, held in uint64."""
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    w0, w1, w2, w3 = words
    for i in range(10):
        round_key0 = np.uint64((key0 + i * 0x9E3779B9) & 0xFFFFFFFF)
        round_key1 = np.uint64((key1 + i * 0xBB67AE85) & 0xFFFFFFFF)
        product0, product1 = w0 * np.uint64(0xD2511F53), w2 * np.uint64(0xCD9E8D57)
        w0, w1, w2, w3 = (
            (product1 >> shift) ^ w1 ^ round_key0,
            product1 & mask,
            (product0 >> shift) ^ w3 ^ round_key1,
            product0 & mask,
        )
    return [w0, w1, w2, w3]


def draw(
    partners: Partners, rows: RowNumbers, weight_dtype: type[np.floating[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Give base, partner and weight of each synthetic row."""
    if isinstance(rows, range):
        rows = np.arange(rows.start, rows.stop)
    r0, r1, r2, _ = philox4x32(rows.astype(np.uint64), partners.seed)
    group = np.searchsorted(partners.sample_start, rows, side="right") - 1
    n_bases = np.diff(partners.base_start)[group]
    base = partners.base_start[group] + _scale(r0, n_bases)
    n_partners = np.diff(partners.partner_start)[base]
    partner = partners.partner_start[base] + _scale(r1, n_partners)
    u = ((r2 >> np.uint64(8)).astype(np.float64) * 2.0**-24).astype(weight_dtype)
    low, high = weight_dtype(partners.low), weight_dtype(partners.high)
    weight = _fused(u, np.full_like(u, high - low), np.full_like(u, low))
    return partners.bases[base], partners.partners[partner], weight


def _scale(word: NDArray[np.uint64], n: NDArray[np.int64]) -> NDArray[np.int64]:
    scaled: NDArray[np.int64] = ((word * n.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)
    return scaled


def _fused(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> NDArray[Any]:
    result: NDArray[Any] = fma(a, b, c) if a.dtype == np.float64 else fma32(a, b, c)
    return result


def synthesize(x: Rows, partners: Partners, rows: RowNumbers, out: Rows, threads: int) -> None:
    """Write ``fma(weight, partner - base, base)`` for each synthetic row."""
    base, partner, weight = draw(partners, rows, x.compute_dtype)
    values = to_float64(x).astype(x.compute_dtype)
    start, end = values[base], values[partner]
    weights = np.broadcast_to(weight[:, None], start.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the range: infinity or NaN
        store(_fused(weights, end - start, start), out)


def store(values: NDArray[Any], out: Rows) -> None:
    """Round to the output's dtype, to nearest even."""
    if out.dtype != "bfloat16":
        out.data[...] = values
        return
    bits = to_float32_odd(values).view(np.uint32)
    out.data[...] = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16).astype(
        np.uint16
    )


def to_float32_odd(values: NDArray[Any]) -> NDArray[np.float32]:
    """Round to float32 so that a second rounding to bfloat16 is as good as one (to odd)."""
    nearest = values.astype(np.float32)
    error = values.astype(np.float64) - nearest.astype(np.float64)
    even = (nearest.view(np.uint32) & 1) == 0
    towards = np.where(error > 0, np.float32(np.inf), np.float32(-np.inf))
    odd: NDArray[np.float32] = np.where(
        (error != 0) & even, np.nextafter(nearest, towards), nearest
    )
    return odd
