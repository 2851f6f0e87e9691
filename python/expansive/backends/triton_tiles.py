"""Block sizes of the Triton kernels: one pinned table, printed by ``python -m`` of this module.

Pinned rather than tuned at run time, so that a call takes the same time on its first shape as on
its thousandth, nothing depends on what else ran on the device meanwhile, and a figure measured
once can be measured again. No entry changes a result, only the time it takes. The entries follow
the sizes of shared memory and of the matrix instructions; those of sm_90 are the best of those that
`benchmarks/tune_triton.py` compared on an H200.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Tiles:
    """Block sizes of one architecture; all but strip and stages are powers of two.

    Attributes
    ----------
    queries : int
        Queries of a screen program.
    columns : int
        Database rows that a screen program multiplies at a time.
    tile : int
        Rows of a tile, which is kept or refined as a whole; a part of `columns`.
    features : int
        Features of one step of the screen's product.
    strip : int
        Blocks of rows that one screen program goes along.
    query_group : int
        Query blocks that walk over the strips together, so that they find them in the L2 cache.
    refined : int
        Pairs of query and tile that one program measures.
    refine_warps : int
        Its warps.
    unrolled : int
        Steps of eight features that it asks memory for at once.
    elements : int
        Elements that one program of any other kernel works on, and of synthesis makes.
    warps : int
        Warps of a screen program.
    stages : int
        Steps of the screen's product that are on their way from memory at once.
    """

    queries: int
    columns: int
    features: int
    tile: int = 32
    strip: int = 8
    query_group: int = 8
    refined: int = 1
    refine_warps: int = 4
    unrolled: int = 8
    elements: int = 1024
    warps: int = 4
    stages: int = 3


_MANY = math.inf
_EIGHT_WARPS = {"queries": 128, "columns": 128, "features": 64, "warps": 8}
_FOUR_WARPS = {"queries": 128, "columns": 64, "features": 64, "warps": 4}

TABLE = {
    # (queries + columns) * features * 2 bytes a stage, within 164, 100, 100, 228, 228 and 100 KiB.
    "sm_80": {_MANY: Tiles(**_EIGHT_WARPS, stages=3)},
    "sm_86": {_MANY: Tiles(**_FOUR_WARPS, stages=3)},
    "sm_89": {_MANY: Tiles(**_FOUR_WARPS, stages=3)},
    "sm_90": {
        64: Tiles(queries=128, columns=256, features=64, strip=32, unrolled=4, warps=8, stages=3),
        128: Tiles(queries=128, columns=128, features=128, strip=32, unrolled=4, warps=8, stages=2),
        _MANY: Tiles(
            queries=128, columns=256, features=64, tile=16, refine_warps=2, warps=8, stages=4
        ),
    },
    "sm_100": {_MANY: Tiles(**_EIGHT_WARPS, stages=4)},
    "sm_120": {_MANY: Tiles(**_FOUR_WARPS, stages=3)},
    "default": {_MANY: Tiles(queries=64, columns=64, features=32, warps=4, stages=2)},
    # Small tiles, so that small tests meet many; many pairs a program, since each costs the same.
    "interpreter": {
        _MANY: Tiles(
            queries=64,
            columns=32,
            features=16,
            tile=8,
            strip=3,
            refined=256,
            unrolled=1,
            elements=1 << 16,
            stages=1,
        )
    },
}
"""The sizes by architecture, and by the most features that they are for.

"default" stands for any other architecture.
"""


def choose(architecture: str, d: int) -> Tiles:
    """Give the block sizes for rows of d features on "sm_90" and the like, or "interpreter"."""
    sizes = TABLE.get(architecture, TABLE["default"])
    return next(tiles for most, tiles in sizes.items() if d <= most)


if __name__ == "__main__":
    for architecture, sizes in TABLE.items():
        for most, tiles in sizes.items():
            print(f"{architecture:12}up to {most:3} features: {tiles}")
