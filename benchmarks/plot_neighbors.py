"""How search time grows with rows, queries, features, neighbours and threads, drawn and printed.

python benchmarks/plot_neighbors.py [--out docs/neighbors.png]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import data
import numpy as np
import peers
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

import expansive as ex
from expansive.files import atomic_write
from expansive.neighbors import default_threads

BASE = {"n": 50_000, "q": 2000, "d": 64, "k": 10}
SWEEPS: dict[str, Iterable[int]] = {
    "n": (12_500, 25_000, 50_000, 100_000, 200_000),
    "q": (1, 16, 256, 2000, 8000),
    "d": (16, 32, 64, 128, 256, 512),
    "k": (1, 10, 30, 100, 300),
}
NAMES = {"n": "rows", "q": "queries", "d": "features", "k": "neighbours"}
_ROUNDS = 5


def median_seconds(work: Callable[[], Any]) -> float:
    """Median time of some runs after one that warms up."""
    work()
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def search_seconds(search: peers.Search, size: dict[str, int], threads: int) -> float:
    """Time one search of independent normal rows, from the bare arrays."""
    x, q = data.gaussian(size["n"], size["d"], size["q"])
    return median_seconds(lambda: search(x, q, size["k"], threads))


def draw(threads: int) -> Figure:
    """One panel a sweep, expansive and FAISS."""
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    for axes, (name, values) in zip(figure.subplots(1, 4), SWEEPS.items(), strict=True):
        for label, search, colour in (
            ("expansive", peers.expansive, "#0072b2"),
            ("faiss.knn", peers.faiss_knn, "#999999"),
        ):
            times = [
                search_seconds(search, {**BASE, name: value}, threads) * 1e3 for value in values
            ]
            axes.loglog(list(values), times, "o-", color=colour, label=label)
            print(
                f"{label:10} {NAMES[name]:10}",
                *(f"{v}: {t:.1f} ms" for v, t in zip(values, times, strict=True)),
            )
        axes.set_xlabel(NAMES[name])
        axes.set_xticks(list(values), [f"{value:,}" for value in values], fontsize=8)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("milliseconds")
    figure.axes[0].legend(frameon=False)
    fixed = ", ".join(f"{value:,} {NAMES[name]}" for name, value in BASE.items())
    figure.suptitle(f"Exact search, {threads} threads; where not varied: {fixed}", fontsize=10)
    return figure


def report_threads(threads: int) -> None:
    """Print how much faster all threads are than one."""
    x, q = data.gaussian(100_000, 128, 5000)
    index = ex.Index(x, threads=1), ex.Index(x, threads=threads)
    one, many = (median_seconds(lambda i=i: i.search(q, None, 10, "any")) for i in index)
    print(f"1 to {threads} threads, 100000 x 128, q=5000: {one / many:.2f} times faster")


def report_relations(threads: int) -> None:
    """Print what a label relation costs beside the plain search over the same rows."""
    x, _ = data.gaussian(100_000, 64, 5000)
    y, rows = np.arange(len(x)) % 10, np.arange(0, len(x), 20)
    seconds = {
        relation: median_seconds(
            lambda r=relation: ex.neighbors(x, y, 10, r, queries=rows, threads=threads)
        )
        for relation in ("any", "enemy", "friend")
    }
    for relation, time_taken in seconds.items():
        print(f"10 classes, {relation}: {time_taken / seconds['any']:.2f} of the plain search")


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="docs/neighbors.png")
    out = parser.parse_args().out
    threads = default_threads()
    report_threads(threads)
    report_relations(threads)
    figure = draw(threads)
    with atomic_write(out) as temporary:
        figure.savefig(temporary, dpi=150)


if __name__ == "__main__":
    main()
