"""The order in which a search goes through panels: all once, from all over at any time."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import expansive as ex
from cases import cpu_seconds

CSRC = Path(__file__).parents[1] / "csrc"
COMPILER = os.environ.get("CXX", "g++")
FIRST, LENGTH = 5, 3
PROGRAM = """
#include <cstdio>
#include <cstdlib>
#include "cpu/visits.h"
int main(int, char** argv) {
  const int64_t first = std::atol(argv[1]), end = std::atol(argv[2]), length = std::atol(argv[3]);
  for (const expansive::Range& visit :
       expansive::visits({first, end}, length, std::atol(argv[4]) == 1)) {
    std::printf("%ld %ld\\n", static_cast<long>(visit.begin), static_cast<long>(visit.end));
  }
}
"""

Pieces = list[tuple[int, int]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("visits")
    (folder / "visits.cpp").write_text(PROGRAM)
    include = [f"-I{CSRC}", f"-I{CSRC / 'include'}"]
    command = [COMPILER, "-std=c++17", *include, "visits.cpp", "-o", "visits"]
    subprocess.run(command, check=True, cwd=folder)
    return folder / "visits"


def pieces(program: Path, panels: int, *, in_order: bool) -> Pieces:
    arguments = [FIRST, FIRST + panels, LENGTH, int(in_order)]
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(int(begin), int(end)) for begin, end in lines]


@pytest.mark.parametrize("panels", [0, 1, 3, 4, 12, 100, 193, 1000])
@pytest.mark.parametrize("in_order", [False, True])
def test_every_panel_is_visited_once(program: Path, panels: int, in_order: bool) -> None:
    visits = pieces(program, panels, in_order=in_order)
    if in_order:
        assert visits == sorted(visits)
    covered = [panel for begin, end in sorted(visits) for panel in range(begin, end)]
    assert covered == list(range(FIRST, FIRST + panels))
    assert all(end - begin <= LENGTH for begin, end in visits)


@pytest.mark.parametrize("panels", [48, 100, 193, 1000])
def test_what_was_visited_is_spread_evenly(program: Path, panels: int) -> None:
    visits = [begin // LENGTH for begin, _ in pieces(program, panels, in_order=False)]
    for seen in range(4, len(visits) + 1):
        places = sorted(visits[:seen])
        gaps = [after - before for before, after in itertools.pairwise(places)]
        longest = max([*gaps, len(visits) - places[-1] + places[0]])
        assert longest <= 4 * len(visits) / seen


def test_rows_from_far_to_near_cost_little_more_than_shuffled_ones() -> None:
    rng = np.random.default_rng(0)
    n, d = 60_000, 16
    x = rng.standard_normal((n, d), np.float32)
    x *= np.linspace(3, 1, n, dtype=np.float32)[:, None] / np.linalg.norm(x, axis=1)[:, None]
    q = 0.05 * rng.standard_normal((500, d), np.float32)
    in_order, shuffled = (
        ex.Index(rows, backend="cpu", threads=1, expected_queries=len(q))
        for rows in (x, rng.permutation(x))
    )
    seconds, usual = (
        cpu_seconds(lambda index=index: index.search(q, None, 10, "any"))
        for index in (in_order, shuffled)
    )
    # Measured: 2.2 times; 7 to 9 where panels are visited in their own order.
    assert seconds <= 5 * usual
