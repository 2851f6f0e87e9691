"""The kernels of the Triton search: screen, refine, and the roots that need exact rounding.

Screen: for a block of queries and a tile of database rows, the products of their bfloat16 images,
on tensor cores, reduced in registers to one number a query: a distance that no wanted row of the
tile is nearer than. The product never reaches memory. Cost: queries x rows x d multiply-adds.

Refine: queries against tiles, measured directly in float64 in the contract's order. Cost: rows x d
float64 multiply-adds, with the rows from the L2 cache or from memory: nothing is shared between
queries, since few of them want the same tile.

The same source runs compiled and in Triton's interpreter. Bits matter, so every fused
multiply-add is a `tl.fma`, and kernels are launched with ``enable_fp_fusion=False``, which keeps
the compiler from fusing others. Kernels are not compiled anew for each count
(``do_not_specialize``), only for d, whose divisibility decides how wide the loads are.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def wanted_pairs(query_code, code, RELATION: tl.constexpr):
    """Whether the classes of query and row are in the relation."""
    if RELATION == "enemy":
        wanted = query_code != code
    elif RELATION == "friend":
        wanted = query_code == code
    else:
        wanted = query_code == query_code
    return wanted


@triton.jit
def is_empty(low, high, first, last, RELATION: tl.constexpr):
    """Whether no pair of queries and rows is wanted, of classes low ... high and first ... last."""
    if RELATION == "enemy":
        empty = (low == last) & (first == high)
    elif RELATION == "friend":
        empty = (high < first) | (last < low)
    else:
        empty = low != low
    return empty


@triton.jit
def load_images(place, INTERPRETED: tl.constexpr):
    """Load bfloat16 images; Triton's interpreter multiplies the bits of those as integers."""
    images = tl.load(place)
    if INTERPRETED:
        images = images.to(tl.float32)
    return images


@triton.jit
def store_bounds(
    product,
    column,
    query_code,
    code,
    own_column,
    half,
    error,
    row_half,
    place,
    RELATION: tl.constexpr,
):
    """Reduce the products of a block and a tile to a bound for each query."""
    wanted = wanted_pairs(query_code[:, None], code[None, :], RELATION)
    if RELATION != "enemy":
        wanted = wanted & (own_column[:, None] != column[None, :])
    least = tl.min(
        tl.where(wanted, tl.load(row_half + column)[None, :] - product, float("inf")), axis=1
    )
    # From the least half squared distance to a distance; each factor covers three roundings.
    squared = 2.0 * tl.maximum(half + least, 0.0)
    error = error * 1.00000095367431640625
    bound = tl.maximum(tl.sqrt_rn(squared) * 0.99999904632568359375 - error, 0.0)
    bound = tl.where(least == float("inf"), least, bound * 0.99999904632568359375)
    tl.store(place, bound)


@triton.jit(do_not_specialize=["n_query_blocks", "n_tiles", "n_steps"])
def screen_kernel(
    queries,
    query_half,
    query_error,
    query_codes,
    own,
    rows,
    row_half,
    tile_error,
    codes,
    out,
    n_query_blocks,
    n_tiles,
    n_steps,
    RELATION: tl.constexpr,
    QUERIES: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    GROUP: tl.constexpr,
    STRIP: tl.constexpr,
    ONE_STEP: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """Bound the distance of each query to the wanted rows of each tile, from below.

    A program goes along STRIP tiles. ONE_STEP: a tile is one step of the product, so the block of
    queries is loaded once, and the tiles' loads run ahead of their products.
    """
    # GROUP query blocks walk over the strips together, so that they find them in the L2 cache.
    program, n_strips = tl.program_id(0), tl.cdiv(n_tiles, STRIP)
    first_block = program // (GROUP * n_strips) * GROUP
    blocks = tl.minimum(n_query_blocks - first_block, GROUP)
    block = first_block + program % (GROUP * n_strips) % blocks
    first_tile = program % (GROUP * n_strips) // blocks * STRIP
    query = block.to(tl.int64) * QUERIES + tl.arange(0, QUERIES)
    query_code = tl.load(query_codes + query)
    low = tl.load(query_codes + block * QUERIES)
    high = tl.load(query_codes + block * QUERIES + QUERIES - 1)
    own_column = tl.load(own + query)
    half, query_error = tl.load(query_half + query), tl.load(query_error + query)
    feature = tl.arange(0, FEATURES)
    d = n_steps * FEATURES
    a_start = queries + query[:, None] * d + feature[None, :]
    if ONE_STEP:
        a = load_images(a_start, INTERPRETED)
    end_tile = tl.minimum(first_tile + STRIP, n_tiles)
    # Both are sorted by class, so their ends tell whether any pair is wanted at all.
    first_column = first_tile.to(tl.int64) * COLUMNS
    first = tl.load(codes + first_column)
    last = tl.load(codes + end_tile.to(tl.int64) * COLUMNS - 1)
    end = tl.where(is_empty(low, high, first, last, RELATION), first_tile, end_tile)
    for tile in range(end, end_tile):
        tl.store(out + query * n_tiles + tile, tl.full([QUERIES], float("inf"), tl.float32))
    for tile in range(first_tile, end):
        column = first_column + (tile - first_tile) * COLUMNS + tl.arange(0, COLUMNS)
        code = tl.load(codes + column)
        b_place = rows + column[None, :] * d + feature[:, None]
        if ONE_STEP:
            product = tl.dot(a, load_images(b_place, INTERPRETED))
        else:
            a_place = a_start
            product = tl.zeros([QUERIES, COLUMNS], tl.float32)
            for _ in range(0, n_steps):
                a = load_images(a_place, INTERPRETED)
                product = tl.dot(a, load_images(b_place, INTERPRETED), product)
                a_place += FEATURES
                b_place += FEATURES
        store_bounds(
            product,
            column,
            query_code,
            code,
            own_column,
            half,
            query_error + tl.load(tile_error + tile),
            row_half,
            out + query * n_tiles + tile,
            RELATION,
        )


@triton.jit(do_not_specialize=["n_pairs", "n_each"])
def refine_kernel(
    queries,
    query_scales,
    query_codes,
    own,
    rows,
    row_scales,
    codes,
    order,
    chosen,
    chosen_tiles,
    out,
    n_pairs,
    n_each,
    d,
    RELATION: tl.constexpr,
    COSINE: tl.constexpr,
    PAIRS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Measure the wanted rows of tiles, [pairs, columns]; infinity for the others.

    Pair i is query ``chosen[i // n_each]`` and tile ``chosen_tiles[i]``, or none where that is -1.
    """
    pair = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    tile = tl.load(chosen_tiles + pair, mask=pair < n_pairs, other=-1)
    query = tl.load(chosen + pair // n_each, mask=pair < n_pairs, other=0)
    column = tl.maximum(tile, 0)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    row = tl.load(order + column)
    wanted = wanted_pairs(tl.load(query_codes + query)[:, None], tl.load(codes + column), RELATION)
    wanted = wanted & (tile >= 0)[:, None] & (row >= 0)
    wanted = wanted & (column != tl.load(own + query)[:, None])
    row = tl.where(wanted, row, 0)
    lane = tl.arange(0, 8)[None, None, :]
    a_place = queries + query[:, None, None] * d + lane
    b_place = rows + row[:, :, None] * d + lane
    if COSINE:
        a_scale = tl.load(query_scales + query)[:, None, None]
        b_scale = tl.load(row_scales + row)[:, :, None]
    sums = tl.zeros([PAIRS, COLUMNS, 8], tl.float64)
    for j in range(0, d, 8):
        inside = lane < d - j
        a = tl.load(a_place + j, mask=inside, other=0).to(tl.float64)
        b = tl.load(b_place + j, mask=inside & wanted[:, :, None], other=0).to(tl.float64)
        if COSINE:
            a = a * a_scale
            b = b * b_scale
        difference = a - b
        sums = tl.fma(difference, difference, sums)
    # The contract's tree; each reduction adds two numbers.
    halves = tl.sum(tl.reshape(sums, [PAIRS, COLUMNS, 2, 4]), axis=2)
    quarters = tl.sum(tl.reshape(halves, [PAIRS, COLUMNS, 2, 2]), axis=2)
    total = tl.where(wanted, tl.sum(quarters, axis=2), float("inf"))
    place = out + pair[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    tl.store(place, total, mask=(pair < n_pairs)[:, None])


@triton.jit(do_not_specialize=["n"])
def row_scales_kernel(rows, out, n, d, ROWS: tl.constexpr):
    """Write reciprocal norms; the squares are summed in the order of a distance."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    lane = tl.arange(0, 8)[None, :]
    sums = tl.zeros([ROWS, 8], tl.float64)
    for j in range(0, d, 8):
        inside = (row < n)[:, None] & (lane < d - j)
        value = tl.load(rows + row[:, None] * d + lane + j, mask=inside, other=0).to(tl.float64)
        sums = tl.fma(value, value, sums)
    halves = tl.sum(tl.reshape(sums, [ROWS, 2, 4]), axis=1)
    quarters = tl.sum(tl.reshape(halves, [ROWS, 2, 2]), axis=1)
    squared = tl.where(row < n, tl.sum(quarters, axis=1), 1.0)
    tl.store(out + row, 1.0 / tl.sqrt(squared), mask=row < n)


@triton.jit(do_not_specialize=["n"])
def finish_kernel(squares, out, n, METRIC: tl.constexpr, BLOCK: tl.constexpr):
    """Turn squared distances into the metric's distance, then round to the output's type."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(squares + i, mask=i < n, other=0.0)
    if METRIC == "euclidean":
        value = tl.sqrt(value)
    elif METRIC == "cosine":
        value = value * 0.5
    tl.store(out + i, value.to(out.dtype.element_ty), mask=i < n)


@triton.jit
def fma_kernel(a, b, c, out):
    """Write ``fma(a, b, c)`` of one float64 each: a probe for interpreters that round twice."""
    i = tl.arange(0, 1)
    tl.store(out + i, tl.fma(tl.load(a + i), tl.load(b + i), tl.load(c + i)))
