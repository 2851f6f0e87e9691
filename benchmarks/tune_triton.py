"""Which block sizes of the Triton search are fastest on this GPU: what to pin in its table.

    python benchmarks/tune_triton.py                             # some minutes
    TRITON_INTERPRET=1 python benchmarks/tune_triton.py --smoke  # does it run?

Times searches of independent Gaussian rows with each candidate, index included, and prints their
times over those of the entry that is pinned now. Every candidate must give the same bits. The
choice goes into `expansive/backends/triton_tiles.py` by hand: one entry serves all numbers of
features.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product

import torch
from gpu import Clock, in_short
from torch import Tensor

import expansive as ex
from expansive.backends import triton_tiles
from expansive.backends.triton_arrays import INTERPRETED, device, tiles
from expansive.backends.triton_tiles import Tiles

K = 10


def candidates(pinned: Tiles, smoke: bool) -> Iterator[Tiles]:
    """Give the pinned sizes first, then all that may be better."""
    yield pinned
    if smoke:
        yield replace(pinned, columns=2 * pinned.columns, strip=1)
        return
    yield from (replace(pinned, strip=strip) for strip in (2, 4, 8, 16, 32))
    sizes = product((64, 128), (64, 128, 256), (32, 64), (4, 8), (3, 4))
    for queries, columns, features, warps, stages in sizes:
        shared = (queries + columns) * features * 2 * stages
        sums = queries * columns // (32 * warps)  # registers of a thread
        tried = replace(
            pinned, queries=queries, columns=columns, features=features, warps=warps, stages=stages
        )
        if shared <= 220 << 10 and 32 <= sums <= 128 and tried != pinned:
            yield tried


@contextmanager
def using(chosen: Tiles) -> Iterator[None]:
    """Have searches take other sizes than those of the table."""
    before = dict(triton_tiles.TABLE)
    triton_tiles.TABLE.update(dict.fromkeys(before, chosen))
    try:
        yield
    finally:
        triton_tiles.TABLE.update(before)


def search(x: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = ex.Index(x, backend="triton").search(q, k=K, relation="any")
    return found


def in_words(sizes: Tiles) -> str:
    """Name sizes by what differs among the candidates."""
    return (
        f"{sizes.queries} x {sizes.columns} x {sizes.features}, strips of {sizes.strip}, "
        f"{sizes.warps} warps, {sizes.stages} stages"
    )


def main() -> None:
    """Time every candidate at every number of features."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--minutes", type=float, default=7.0, help="start nothing after that")
    args = parser.parse_args()
    if not INTERPRETED and not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device; TRITON_INTERPRET=1 and --smoke show it runs")
    place = device()
    clock = Clock(place, 60.0 * args.minutes)
    n, n_queries = (300, 70) if args.smoke else (1_000_000, 10_000)
    torch.manual_seed(0)
    data = [
        (torch.randn(n, d, device=place), torch.randn(n_queries, d, device=place))
        for d in ((8, 33) if args.smoke else (64, 128, 512, 2048))
    ]
    expected = [search(x, q) for x, q in data]  # compiles, too
    pinned = [clock.median(lambda x=x, q=q: search(x, q))[0] for x, q in data]
    print(
        f"{n} rows x {', '.join(str(x.shape[1]) for x, _ in data)} features, q={n_queries}, k={K}"
    )
    print(f"pinned, {in_words(tiles())}: {', '.join(f'{seconds:.4f}' for seconds in pinned)} s")
    for sizes in candidates(tiles(), args.smoke):
        if clock.is_up:
            return print("the time was up")
        with using(sizes):
            shown = [try_out(clock, *case) for case in zip(data, expected, pinned, strict=True)]
        print(f"{in_words(sizes)}: {', '.join(shown)}", flush=True)


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
