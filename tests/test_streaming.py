"""Rows on disk, more of them than the memory budget: streamed, not held."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import run_python

N, D, QUERIES, K = 128 << 10, 512, 600, 10
BUDGET = 32 << 20
FILE_BYTES = N * D * 4

# What a call may hold beside its budget and the file's own pages, which the kernel drops at will: a
# few numbers a row (its place among the classes, its label), the queries as they are and with their
# row numbers, the result, and small things.
PER_ROW = 5 * 8
ALLOWED = BUDGET + N * PER_ROW + QUERIES * (D * 4 + K * 12 + 4 * 8) + (2 << 20)

MEASURE = """
import json, sys, threading
import numpy as np
import expansive as ex

def anonymous():
    "Bytes of this process's own memory: RssAnon leaves out the pages of mapped files."
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))

def peak_of(work):
    "What `work` gives, and the most memory seen meanwhile above that before."
    before, seen, done = anonymous(), [0], threading.Event()
    def watch():
        while not done.wait(0.001):
            seen.append(anonymous())
    watcher = threading.Thread(target=watch)
    watcher.start()
    result = work()
    done.set()
    watcher.join()
    return result, max(seen) - before

path, n, queries, k, budget = sys.argv[1], *map(int, sys.argv[2:6])
x = np.load(path, mmap_mode="r")
y = np.arange(n) % 3
rows = np.linspace(0, n - 1, queries).astype(np.int64)
small = np.ascontiguousarray(x[:9000])
ex.neighbors(small, y[:9000], k, threads=2)  # threads, and whatever libraries set up once

def rows_of_x(budget):
    return ex.neighbors(x, y, k, "enemy", rows, threads=2, memory_budget=budget)

def other_points(budget):
    index = ex.Index(x, threads=2, memory_budget=budget)
    return index.search(x[rows], k=k, relation="any")

for work in (rows_of_x, other_points):
    streamed, peak = peak_of(lambda: work(budget))
    held, full = peak_of(lambda: work(None))
    same = all(a.tobytes() == b.tobytes() for a, b in zip(streamed, held))
    print(json.dumps({"work": work.__name__, "peak": peak, "full": full, "same": same}))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "x.npy"
    x = np.lib.format.open_memmap(path, "w+", np.float32, (N, D))
    rng = np.random.default_rng(0)
    for start in range(0, N, 8192):
        x[start : start + 8192] = rng.standard_normal((8192, D), np.float32)
    x.flush()
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells own memory from file pages")
def test_a_file_larger_than_the_budget_is_streamed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The C library returns freed memory at once, so that what is seen is what is held.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(1 << 16))
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", str(1 << 16))
    arguments = [str(file), *map(str, (N, QUERIES, K, BUDGET))]
    found: list[dict[str, Any]] = [
        json.loads(line) for line in run_python(MEASURE, 300, arguments).splitlines()
    ]
    assert [entry["work"] for entry in found] == ["rows_of_x", "other_points"]
    for entry in found:
        assert entry["same"], entry
        assert entry["peak"] <= ALLOWED, (entry, ALLOWED)
        # Images of bytes take a quarter of the file.
        assert entry["full"] >= FILE_BYTES // 4 > ALLOWED, "the measurement sees what is held"
