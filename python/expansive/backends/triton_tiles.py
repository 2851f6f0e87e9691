"""Block sizes of the Triton kernels: one pinned table, printed by ``python -m`` of this module.

Pinned rather than tuned at run time, so that a call takes the same time on its first shape as on
its thousandth, nothing depends on what else ran on the device meanwhile, and a figure measured
once can be measured again. No entry changes a result, only the time it takes. The entries follow
the sizes of shared memory and of the matrix instructions; that of sm_90 is the best of those that
`benchmarks/tune_triton.py` compared on an H200.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tiles:
    """Block sizes of one architecture; all but the strip are powers of two.

    Attributes
    ----------
    queries : int
        Queries of a screen program.
    columns : int
        Database rows of a tile: of a screen program, and what is kept or refined as a whole.
    features : int
        Features of one step of the screen's product.
    strip : int
        Tiles that one screen program goes along.
    group : int
        Query blocks that walk over the tiles together, so that they find them in the L2 cache.
    refined : int
        Pairs of query and tile that one program measures.
    elements : int
        Elements that one synthesis program makes.
    warps : int
        Warps of a program.
    stages : int
        Steps of the screen's product that are on their way from memory at once.
    """

    queries: int
    columns: int
    features: int
    strip: int = 1
    group: int = 8
    refined: int = 1
    elements: int = 1024
    warps: int = 4
    stages: int = 3


TABLE = {
    # (queries + columns) * features * 2 bytes a stage, within 164, 100, 100, 228, 228 and 100 KiB.
    "sm_80": Tiles(queries=128, columns=128, features=64, warps=8, stages=3),
    "sm_86": Tiles(queries=128, columns=64, features=64, warps=4, stages=3),
    "sm_89": Tiles(queries=128, columns=64, features=64, warps=4, stages=3),
    "sm_90": Tiles(queries=128, columns=64, features=64, warps=4, stages=3),
    "sm_100": Tiles(queries=128, columns=128, features=64, warps=8, stages=4),
    "sm_120": Tiles(queries=128, columns=64, features=64, warps=4, stages=3),
    "default": Tiles(queries=64, columns=64, features=32, warps=4, stages=2),
    # Small tiles, so that small tests meet many; many pairs a program, since each costs the same.
    "interpreter": Tiles(
        queries=64, columns=16, features=16, strip=3, refined=256, elements=1 << 16, stages=1
    ),
}
"""The sizes by architecture; "default" stands for any other one."""


def choose(architecture: str) -> Tiles:
    """Give the block sizes for "sm_90" and the like, or "interpreter"."""
    return TABLE.get(architecture, TABLE["default"])


if __name__ == "__main__":
    for name, tiles in TABLE.items():
        print(f"{name:12}{tiles}")
