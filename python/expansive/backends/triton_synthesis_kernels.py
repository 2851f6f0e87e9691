"""The kernels of synthesis: draw, gather, interpolate and round in one.

Fused: Philox, the draws from the partner tables, the two gathers, the interpolation and the
rounding to the output's type; nothing but x, the tables and the result touches memory. Bound by
memory: each row reads two rows of x and writes one. The draws of a row are repeated by every
program that makes a part of it, which costs less than to store and load them.

Out of scope: an output that does not fit on the device (generate it in slices).

The bits are those of the reference, so every operation is written out: `tl.fma` where the contract
has a fused multiply-add, and no other contraction (``enable_fp_fusion=False``). Philox is written
out as well, because `tl.rand` counts differently.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def philox4x32(word0, word1, key0, key1):
    """Words 0 to 2 of Philox4x32-10 for the counter (word0, word1, 0, 0), all in uint32."""
    word2 = word0 ^ word0
    word3 = word2
    for _ in tl.static_range(10):
        high0 = tl.umulhi(word0, 0xD2511F53)
        low0 = word0 * 0xD2511F53
        high1 = tl.umulhi(word2, 0xCD9E8D57)
        low1 = word2 * 0xCD9E8D57
        word0 = high1 ^ word1 ^ key0
        word1 = low1
        word2 = high0 ^ word3 ^ key1
        word3 = low0
        key0 = key0 + 0x9E3779B9
        key1 = key1 + 0xBB67AE85
    return word0, word1, word2


@triton.jit
def scale_word(word, n):
    """(word * n) >> 32: a number below n."""
    return ((word.to(tl.uint64) * n.to(tl.uint64)) >> 32).to(tl.int64)


@triton.jit
def draw_rows(
    row,
    sample_start,
    base_start,
    bases,
    partner_start,
    partners,
    key,
    span,
    n_classes,
    SEARCH_STEPS: tl.constexpr,
):
    """Give base, partner and weight of synthetic rows, as the contract draws them."""
    unsigned = row.to(tl.uint64)
    key0 = tl.load(key).to(tl.uint32)
    key1 = tl.load(key + 1).to(tl.uint32)
    word0, word1, word2 = philox4x32(
        (unsigned & 0xFFFFFFFF).to(tl.uint32), (unsigned >> 32).to(tl.uint32), key0, key1
    )
    # The class that owns the row: the first whose successor starts beyond it.
    group = row * 0
    last = group + n_classes - 1
    for _ in tl.static_range(SEARCH_STEPS):
        middle = (group + last) // 2
        beyond = tl.load(sample_start + middle + 1) > row
        last = tl.where(beyond, middle, last)
        group = tl.where(beyond, group, tl.minimum(middle + 1, last))
    first_base = tl.load(base_start + group)
    base = first_base + scale_word(word0, tl.load(base_start + group + 1) - first_base)
    first_partner = tl.load(partner_start + base)
    n_partners = tl.load(partner_start + base + 1) - first_partner
    partner = first_partner + scale_word(word1, n_partners)
    low = tl.load(span)
    u = (word2 >> 8).to(low.dtype) * 5.9604644775390625e-08  # 2**-24; both are exact
    weight = tl.fma(u, tl.load(span + 1), low)
    return tl.load(bases + base), tl.load(partners + partner), weight


@triton.jit(do_not_specialize=["n_rows", "n_classes"])
def draw_kernel(
    rows,
    sample_start,
    base_start,
    bases,
    partner_start,
    partners,
    key,
    span,
    base_out,
    partner_out,
    weight_out,
    n_rows,
    n_classes,
    SEARCH_STEPS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Write the draws of synthetic rows."""
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    row = tl.load(rows + i, mask=i < n_rows, other=0)
    base, partner, weight = draw_rows(
        row, sample_start, base_start, bases, partner_start, partners, key, span, n_classes,
        SEARCH_STEPS,
    )  # fmt: skip
    tl.store(base_out + i, base, mask=i < n_rows)
    tl.store(partner_out + i, partner, mask=i < n_rows)
    tl.store(weight_out + i, weight, mask=i < n_rows)


@triton.jit
def to_float32_odd(value):
    """Round float64 to float32 so that a second rounding is as good as one (to odd)."""
    nearest = value.to(tl.float32)
    error = value - nearest.to(tl.float64)
    bits = nearest.to(tl.int32, bitcast=True)
    away = (error > 0) == (bits >= 0)
    odd = bits + tl.where(away, 1, -1)
    inexact = (error != 0) & ((bits & 1) == 0)
    return tl.where(inexact, odd, bits)


@triton.jit
def bfloat16_bits(value):
    """Give the bits of the nearest bfloat16, ties to even."""
    if value.dtype == tl.float64:
        bits = to_float32_odd(value).to(tl.uint32, bitcast=True)
    else:
        bits = value.to(tl.uint32, bitcast=True)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    rounded = tl.where(value != value, 0x7FC0, rounded)  # a GPU's NaN would be carried to -0
    return rounded.to(tl.uint16).to(tl.int16, bitcast=True)


@triton.jit(do_not_specialize=["n_rows", "n_classes"])
def synthesize_kernel(
    x,
    rows,
    sample_start,
    base_start,
    bases,
    partner_start,
    partners,
    key,
    span,
    out,
    n_rows,
    d,
    n_classes,
    SEARCH_STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    FEATURES: tl.constexpr,
    BFLOAT16_OUT: tl.constexpr,
):
    """Write ``fma(weight, partner - base, base)`` for each synthetic row, rounded to out's type."""
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    feature = tl.program_id(1) * FEATURES + tl.arange(0, FEATURES)
    row = tl.load(rows + i, mask=i < n_rows, other=0)
    base, partner, weight = draw_rows(
        row, sample_start, base_start, bases, partner_start, partners, key, span, n_classes,
        SEARCH_STEPS,
    )  # fmt: skip
    inside = (i < n_rows)[:, None] & (feature < d)[None, :]
    start = tl.load(x + base[:, None] * d + feature[None, :], mask=inside, other=0)
    end = tl.load(x + partner[:, None] * d + feature[None, :], mask=inside, other=0)
    start = start.to(weight.dtype)
    difference = end.to(weight.dtype) - start
    value = tl.fma(weight[:, None], difference, start)
    place = out + i[:, None] * d + feature[None, :]
    if BFLOAT16_OUT:
        tl.store(place, bfloat16_bits(value), mask=inside)
    else:
        tl.store(place, value.to(out.dtype.element_ty), mask=inside)
