"""Which block sizes of the Triton search are fastest on this GPU: what to pin in its table.

    python benchmarks/tune_triton.py                             # some minutes
    TRITON_INTERPRET=1 python benchmarks/tune_triton.py --smoke  # does it run?

Times searches of independent Gaussian rows with each candidate, index included, and prints their
times over those of the entry that is pinned now. Every candidate must give the same bits. The
choice goes into `expansive/backends/triton_tiles.py` by hand. Most of the time would go into
compiling: processes beside each other fill Triton's cache ahead, by searches of few rows.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import product
from multiprocessing import get_context

import torch
from gpu import Clock, gaussian, in_short
from torch import Tensor

import expansive as ex
from expansive.backends import triton_tiles
from expansive.backends.triton_arrays import INTERPRETED, device, tiles
from expansive.backends.triton_tiles import Tiles

K = 10


def candidates(pinned: Tiles, d: int, smoke: bool) -> Iterator[Tiles]:
    """Give all sizes that may be better than the pinned ones."""
    if smoke:
        yield replace(pinned, columns=2 * pinned.columns, strip=1)
        return
    yield from (replace(pinned, tile=tile) for tile in (16, 32, 64) if tile != pinned.tile)
    for warps, unrolled in product((1, 2, 4), (4, 8)):
        yield replace(pinned, refine_warps=warps, unrolled=unrolled)
    shapes = product((64, 128), (64, 128, 256), {64, min(d, 128)}, (4, 8), (2, 3, 4), (8, 32))
    for queries, columns, features, warps, stages, strip in shapes:
        shared = (queries + columns) * features * 2 * stages
        sums = queries * columns // (32 * warps)  # registers of a thread
        if shared <= 220 << 10 and 64 <= sums <= 128:
            yield replace(
                pinned,
                queries=queries,
                columns=columns,
                features=features,
                warps=warps,
                stages=stages,
                strip=strip,
            )


@contextmanager
def using(chosen: Tiles) -> Iterator[None]:
    """Have searches take other sizes than those of the table."""
    before = dict(triton_tiles.TABLE)
    triton_tiles.TABLE.update({name: {math.inf: chosen} for name in before})
    try:
        yield
    finally:
        triton_tiles.TABLE.update(before)


def search(x: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = ex.Index(x, backend="triton").search(q, k=K, relation="any")
    return found


def compile_ahead(tried: dict[int, list[Tiles]], jobs: int) -> None:
    """Leave what candidates compile in Triton's cache; the first use of one takes seconds."""
    pairs = [(d, sizes) for d, all_sizes in tried.items() for sizes in all_sizes]
    with get_context("spawn").Pool(jobs) as pool:
        pool.starmap(compile_one, pairs, chunksize=1)


def compile_one(d: int, sizes: Tiles) -> None:
    """Compile what a search takes; what goes wrong is told where the candidate is timed."""
    # As the large search: counts that Triton compiles for are multiples of 16, those of blocks odd.
    x, q = gaussian(1280, d, 1280, device())
    with using(sizes), suppress(Exception):
        search(x, q)


def in_words(sizes: Tiles) -> str:
    """Name sizes by what differs among the candidates."""
    return (
        f"{sizes.queries} x {sizes.columns} x {sizes.features}, strips of {sizes.strip}, "
        f"{sizes.warps} warps, {sizes.stages} stages, tiles of {sizes.tile}, "
        f"{sizes.refine_warps} warps refine {sizes.unrolled} steps at once"
    )


def main() -> None:
    """Time every candidate at every number of features."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--minutes", type=float, default=7.0, help="start nothing after that")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="that compile")
    args = parser.parse_args()
    if not INTERPRETED and not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device; TRITON_INTERPRET=1 and --smoke show it runs")
    place = device()
    clock = Clock(place, 60.0 * args.minutes)
    n, n_queries = (300, 70) if args.smoke else (1_000_000, 20_000)
    counts = (8, 33) if args.smoke else (64, 128, 512, 2048)
    tried = {d: list(candidates(tiles(d), d, args.smoke)) for d in counts}
    if not INTERPRETED:
        compile_ahead(tried, args.jobs)
    for d in counts:
        data = gaussian(n, d, n_queries, place)
        expected = search(*data)
        pinned, _ = clock.median(lambda data=data: search(*data))
        print(f"{n} x {d}, q={n_queries}, k={K}, {in_words(tiles(d))}: {pinned:.4f} s")
        for sizes in tried[d]:
            if clock.is_up:
                return print("the time was up")
            with using(sizes):
                shown = try_out(clock, data, expected, pinned)
            print(f"{shown}  {in_words(sizes)}", flush=True)


def try_out(
    clock: Clock, data: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], pinned: float
) -> str:
    """Give a candidate's time over the pinned entry's, or what went wrong."""
    try:
        seconds, found = clock.median(lambda: search(*data))
    except Exception as error:  # too much shared memory, say
        return in_short(error)
    same = all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    return f"{seconds / pinned:.2f}" if same else "WRONG: other bits"


if __name__ == "__main__":
    main()
