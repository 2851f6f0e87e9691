"""Peak memory of a search in a file larger than its memory budget: one line.

The file is made first (4 GB by default) and removed afterwards. What is measured is the process's
own memory (RssAnon in /proc/self/status, so Linux only), a thousand times a second, above what it
was before the search; pages of the mapped file are not counted, the kernel drops them at will.

    python benchmarks/memory.py [--rows 1048576] [--features 1024] [--budget 536870912]
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import data
import numpy as np

import expansive as ex

_ROWS_AT_ONCE = 8192


def own_memory() -> int:
    """Bytes of memory of this process, without the pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


def peak_of(work: Callable[[], Any]) -> tuple[int, float]:
    """Most memory seen during `work`, above that before it; and seconds."""
    before, seen, done = own_memory(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            seen.append(own_memory())

    watcher = threading.Thread(target=watch)
    start = time.perf_counter()
    watcher.start()
    work()
    done.set()
    watcher.join()
    return max(seen) - before, time.perf_counter() - start


def write_rows(path: Path, n: int, d: int) -> None:
    """Independent normal rows, a few at a time."""
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (n, d))
    rng = np.random.default_rng(0)
    for start in range(0, n, _ROWS_AT_ONCE):
        count = min(_ROWS_AT_ONCE, n - start)
        rows[start : start + count] = rng.standard_normal((count, d), np.float32)


def main() -> None:
    """Write the file, search it, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1 << 20)
    parser.add_argument("--features", type=int, default=1 << 10)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--budget", type=int, default=512 << 20)
    parser.add_argument("--folder", help="where the file goes; by default the temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, options.rows, options.features)
        x = np.load(path, mmap_mode="r")
        rows = data.spread(len(x), options.queries)
        peak, seconds = peak_of(
            lambda: ex.neighbors(x, None, 10, "any", queries=rows, memory_budget=options.budget)
        )
        print(
            f"{path.stat().st_size / 2**30:.2f} GiB file, {len(rows)} queries, k=10, budget "
            f"{options.budget / 2**20:.0f} MiB: peak {peak / 2**20:.0f} MiB, {seconds:.1f} s"
        )


if __name__ == "__main__":
    main()
