"""The kernels of the Triton search: images, screen, refine, and roots that need exact rounding.

Images: rows moved, scaled and rounded to bfloat16 as they are read, with both sums that the bounds
need. Cost: one read and one write of the rows.

Screen: for a block of queries and one of database rows, the products of their bfloat16 images, on
tensor cores, reduced in registers to one number a query and tile, the least half squared distance
of a wanted row. The product never reaches memory. Cost: queries x rows x d multiply-adds.

Bounds: what no wanted row of a tile is nearer than, from those numbers as they are read. Smallest:
some columns of each row, looked for in turn. Cost: one read.

Refine: queries against tiles, measured directly in float64 in the contract's order. Cost: rows x d
float64 multiply-adds, with the rows from the L2 cache or from memory: nothing is shared between
queries, since few of them want the same tile.

The same source runs compiled and in Triton's interpreter. Bits matter, so every fused
multiply-add is a `tl.fma`, and kernels are launched with ``enable_fp_fusion=False``, which keeps
the compiler from fusing others. Kernels are not compiled anew for each count
(``do_not_specialize``), only for d, whose divisibility decides how wide the loads are, and for the
power of two above the number of groups of tiles.
"""

from __future__ import annotations

import triton
import triton.language as tl

from expansive.backends.triton_synthesis_kernels import bfloat16_bits


@triton.jit(do_not_specialize=["n"])
def images_kernel(
    rows,
    row_scales,
    order,
    centre,
    scale,
    out,
    squared_norm,
    squared_error,
    n,
    d,
    length,
    COSINE: tl.constexpr,
    TOO_FAR: tl.constexpr,
    ROWS: tl.constexpr,
    FEATURES: tl.constexpr,
):
    """Round moved and scaled rows to bfloat16, whose bits are written, and measure the rounding.

    Images whose squared norm is above TOO_FAR, or not a number, become zero.
    """
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    row = tl.load(order + i, mask=i < n, other=0)
    factor = tl.load(scale)
    norms = tl.zeros([ROWS], tl.float64)
    errors = tl.zeros([ROWS], tl.float64)
    for start in range(0, length, FEATURES):
        feature = start + tl.arange(0, FEATURES)[None, :]
        inside = (i < n)[:, None] & (feature < d)
        value = tl.load(rows + row[:, None] * d + feature, mask=inside, other=0).to(tl.float64)
        if COSINE:
            value = value * tl.load(row_scales + row)[:, None]
        moved = (value - tl.load(centre + feature, mask=feature < d, other=0)) * factor
        moved = tl.where(inside, moved, 0.0)
        bits = bfloat16_bits(moved)
        padded = (i < n)[:, None] & (feature < length)
        tl.store(out + i[:, None] * length + feature, bits, mask=padded)
        image = (bits.to(tl.int32) << 16).to(tl.float32, bitcast=True).to(tl.float64)
        norms += tl.sum(image * image, axis=1)
        errors += tl.sum((image - moved) * (image - moved), axis=1)
    tl.store(squared_norm + i, norms, mask=i < n)
    tl.store(squared_error + i, errors, mask=i < n)
    is_far = (i < n) & ((norms <= TOO_FAR) == 0)
    end = tl.where(tl.max(is_far.to(tl.int32), axis=0) > 0, length, 0)
    for start in range(0, end, FEATURES):
        feature = start + tl.arange(0, FEATURES)[None, :]
        nothing = tl.zeros([ROWS, FEATURES], tl.int16)
        mask = is_far[:, None] & (feature < length)
        tl.store(out + i[:, None] * length + feature, nothing, mask=mask)


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
def least_of_tiles(
    product,
    column,
    query_code,
    code,
    own_column,
    row_half,
    RELATION: tl.constexpr,
    OWN: tl.constexpr,
    TILE: tl.constexpr,
):
    """Reduce a block of products to the least half squared distance of each query and tile."""
    queries: tl.constexpr = product.shape[0]
    columns: tl.constexpr = product.shape[1]
    half = tl.load(row_half + column)[None, :] - product
    if RELATION != "any":
        wanted = wanted_pairs(query_code[:, None], code[None, :], RELATION)
        half = tl.where(wanted, half, float("inf"))
    if OWN:
        half = tl.where(own_column[:, None] != column[None, :], half, float("inf"))
    return tl.min(tl.reshape(half, [queries, columns // TILE, TILE]), axis=2)


@triton.jit(do_not_specialize=["n_queries", "n_blocks", "n_steps", "stride"])
def screen_kernel(
    queries,
    query_codes,
    own,
    rows,
    row_half,
    codes,
    out,
    n_queries,
    n_blocks,
    n_steps,
    stride,
    RELATION: tl.constexpr,
    OWN: tl.constexpr,
    QUERIES: tl.constexpr,
    COLUMNS: tl.constexpr,
    TILE: tl.constexpr,
    FEATURES: tl.constexpr,
    QUERY_GROUP: tl.constexpr,
    STRIP: tl.constexpr,
    ONE_STEP: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """Find the least half squared distance, but for the query's norm, in each tile of rows.

    A program goes along STRIP blocks of rows. ONE_STEP: a block is one step of the product, so the
    queries are loaded once, and the blocks' loads run ahead of their products.
    """
    # QUERY_GROUP query blocks walk over the strips together, and find them in the L2 cache.
    program, n_strips = tl.program_id(0), tl.cdiv(n_blocks, STRIP)
    first_query_block = program // (QUERY_GROUP * n_strips) * QUERY_GROUP
    query_blocks = tl.minimum(tl.cdiv(n_queries, QUERIES) - first_query_block, QUERY_GROUP)
    query_block = first_query_block + program % (QUERY_GROUP * n_strips) % query_blocks
    first_block = program % (QUERY_GROUP * n_strips) // query_blocks * STRIP
    query = query_block.to(tl.int64) * QUERIES + tl.arange(0, QUERIES)
    query_code = tl.load(query_codes + query)
    low = tl.load(query_codes + query_block * QUERIES)
    high = tl.load(query_codes + query_block * QUERIES + QUERIES - 1)
    own_column = tl.load(own + query)
    feature = tl.arange(0, FEATURES)
    d = n_steps * FEATURES
    a_start = queries + query[:, None] * d + feature[None, :]
    if ONE_STEP:
        a = load_images(a_start, INTERPRETED)
    end_block = tl.minimum(first_block + STRIP, n_blocks)
    # Both are sorted by class, so their ends tell whether any pair is wanted at all.
    first_column = first_block.to(tl.int64) * COLUMNS
    first = tl.load(codes + first_column)
    last = tl.load(codes + end_block.to(tl.int64) * COLUMNS - 1)
    end = tl.where(is_empty(low, high, first, last, RELATION), first_block, end_block)
    n_tiles: tl.constexpr = COLUMNS // TILE
    exists = (query < n_queries)[:, None]
    out_place = out + (query * stride)[:, None] + tl.arange(0, n_tiles)[None, :]
    for block in range(end, end_block):
        nothing = tl.full([QUERIES, n_tiles], float("inf"), tl.float32)
        tl.store(out_place + block * n_tiles, nothing, mask=exists)
    for block in range(first_block, end):
        column = first_column + (block - first_block) * COLUMNS + tl.arange(0, COLUMNS)
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
        least = least_of_tiles(
            product, column, query_code, code, own_column, row_half, RELATION, OWN, TILE
        )
        tl.store(out_place + block * n_tiles, least, mask=exists)


@triton.jit(do_not_specialize=["n", "n_listed", "n_tiles", "stride"])
def bounds_kernel(
    least,
    numbers,
    half,
    query_error,
    tile_error,
    listed,
    out,
    n,
    n_listed,
    n_tiles,
    stride,
    LISTED: tl.constexpr,
    ROWS: tl.constexpr,
    GROUPS: tl.constexpr,
    TILES: tl.constexpr,
):
    """Bound the distance of queries to the wanted rows of tiles, from below.

    LISTED: of the tiles in the groups of TILES that are listed for each query, [n, n_listed]; gives
    [n, n_listed, TILES]. Else of all n_listed groups; gives the least of each, [n, n_listed]. Query
    i is that of row ``numbers[i]`` of `least`.
    """
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    at = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    number = tl.load(numbers + i, mask=i < n, other=0)
    place = i[:, None] * n_listed + at[None, :]
    inside = (i < n)[:, None] & (at < n_listed)[None, :]
    if LISTED:
        group = tl.load(listed + place, mask=inside, other=0)
    else:
        group = tl.zeros([ROWS, GROUPS], tl.int64) + at[None, :]
    tile = group[:, :, None] * TILES + tl.arange(0, TILES)[None, None, :]
    exists = inside[:, :, None] & (tile < n_tiles)
    value = tl.load(
        least + (number * stride)[:, None, None] + tile, mask=exists, other=float("inf")
    )
    error = tl.load(query_error + number)[:, None, None] + tl.load(
        tile_error + tile, mask=exists, other=0.0
    )
    # From the least half squared distance to a distance; each factor covers three roundings.
    squared = 2.0 * tl.maximum(tl.load(half + number)[:, None, None] + value, 0.0)
    error = error * 1.00000095367431640625
    bound = tl.maximum(tl.sqrt_rn(squared) * 0.99999904632568359375 - error, 0.0)
    bound = tl.where(value == float("inf"), value, bound * 0.99999904632568359375)
    if LISTED:
        out_place = out + place[:, :, None] * TILES + tl.arange(0, TILES)[None, None, :]
        tl.store(out_place, bound, mask=inside[:, :, None])
    else:
        tl.store(out + place, tl.min(bound, axis=2), mask=inside)


@triton.jit(do_not_specialize=["n", "n_columns", "take"])
def smallest_kernel(
    values,
    out,
    n,
    n_columns,
    take,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write the columns of the `take` smallest values of each row, of at least as many."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)[None, :]
    inside = (row < n)[:, None] & (column < n_columns)
    value = tl.load(values + row[:, None] * n_columns + column, mask=inside, other=0.0)
    # Infinite ones come before those that were taken, or none would be left.
    value = tl.where(inside, tl.minimum(value, 3.4028234663852886e38), float("inf"))
    for i in range(0, take):
        least = tl.argmin(value, axis=1)
        tl.store(out + row * take + i, least.to(tl.int64), mask=row < n)
        value = tl.where(column == least[:, None], float("inf"), value)


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
    TILE: tl.constexpr,
    UNROLLED: tl.constexpr,
):
    """Measure the wanted rows of tiles, [pairs, rows of a tile]; infinity for the others.

    Pair i is query ``chosen[i // n_each]`` and tile ``chosen_tiles[i]``, or none where that is -1.
    """
    pair = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    tile = tl.load(chosen_tiles + pair, mask=pair < n_pairs, other=-1)
    query = tl.load(chosen + pair // n_each, mask=pair < n_pairs, other=0)
    column = tl.maximum(tile, 0)[:, None] * TILE + tl.arange(0, TILE)[None, :]
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
    sums = tl.zeros([PAIRS, TILE, 8], tl.float64)
    end = tl.where(tl.max(tile) < 0, 0, d)  # nothing to read where there is no tile
    # Unrolled, so that many loads are under way before the first is used.
    for j in tl.range(0, end, 8, loop_unroll_factor=UNROLLED):
        inside = lane < d - j
        a = tl.load(a_place + j, mask=inside, other=0).to(tl.float64)
        b = tl.load(b_place + j, mask=inside & wanted[:, :, None], other=0).to(tl.float64)
        if COSINE:
            a = a * a_scale
            b = b * b_scale
        difference = a - b
        sums = tl.fma(difference, difference, sums)
    # The contract's tree; each reduction adds two numbers.
    halves = tl.sum(tl.reshape(sums, [PAIRS, TILE, 2, 4]), axis=2)
    quarters = tl.sum(tl.reshape(halves, [PAIRS, TILE, 2, 2]), axis=2)
    total = tl.where(wanted, tl.sum(quarters, axis=2), float("inf"))
    place = out + pair[:, None] * TILE + tl.arange(0, TILE)[None, :]
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
