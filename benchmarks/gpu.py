"""Search and synthesis on a GPU against its other users, in one table.

    python benchmarks/gpu.py --out gpu.md            # under eight minutes on an H200
    python benchmarks/gpu.py --only synthesis        # one case
    python benchmarks/gpu.py --smoke --device cpu    # does it run? its times say nothing

A million rows, a hundred thousand queries, k = 10; independent Gaussian data, and trained
embeddings where `embeddings.py` has made them. Building an index and casting rows are in every
time. Row numbers and distances are checked on a sample against an independent float64 product and
the reference; recall counts how many of ours a peer finds. The bare matrix product and the copy are
limits: they do less than the work.
"""

from __future__ import annotations

import argparse
import math
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import data
import gpu_peers
import numpy as np
import torch
from torch import Tensor

import expansive as ex
from expansive.backends import reference
from expansive.files import atomic_write

K = 10
_CHECKED = 32
_ROUNDS = 3
_SLOW = 0.5  # seconds: a peer that takes longer is timed once,
_TOO_SLOW = 20.0  # on part of the queries where it takes longer than this


@dataclass(frozen=True)
class Line:
    """A line of the table; `note` says what else there is to know."""

    case: str
    name: str
    seconds: float
    note: str


class Clock:
    """Times what runs on a device, until the time is up."""

    def __init__(self, device: torch.device, limit: float) -> None:
        self._device = device
        self._end = time.perf_counter() + limit

    @property
    def is_up(self) -> bool:
        """Whether nothing more should be started."""
        return time.perf_counter() > self._end

    def once(self, run: Callable[[], Any]) -> tuple[float, Any]:
        """Give seconds and result of a run."""
        self._wait()
        start = time.perf_counter()
        result = run()
        self._wait()
        return time.perf_counter() - start, result

    def median(self, run: Callable[[], Any], rounds: int = _ROUNDS) -> tuple[float, Any]:
        """Give the median of the seconds after a warm-up, and the last result."""
        self.once(run)
        timed = [self.once(run) for _ in range(rounds)]
        return statistics.median(seconds for seconds, _ in timed), timed[-1][1]

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


# ---- search -----------------------------------------------------------------------------------


def search_lines(case: str, x: Tensor, q: Tensor, clock: Clock) -> Iterator[Line]:
    """Time every contestant; ours come first and tell what the others should find."""
    expected: Tensor | None = None
    for name, search in gpu_peers.searches(x.device).items():
        if clock.is_up:
            yield Line(case, name, float("nan"), "left out: the time was up")
            continue
        try:
            slow = math.inf if name.startswith("expansive") else _SLOW
            seconds, found, used = _time_search(search, x, q, clock, slow)
        except Exception as error:  # one contestant's failure must not cost the table
            yield Line(case, name, float("nan"), f"failed: {in_short(error)}")
            continue
        notes = [] if used == len(q) else [f"estimated from {used} queries"]
        if name == gpu_peers.LIMIT:
            notes.append("limit")
        elif isinstance(found, tuple):
            expected = found[1]
            notes += [check(x, q, *found), kernel_shares(lambda search=search: search(x, q, K))]
        elif expected is not None:
            notes.append(f"recall {recall(found, expected):.5f}")
        yield Line(case, name, seconds, ", ".join(filter(None, notes)))
    for name, reason in gpu_peers.missing(x.device).items():
        yield Line(case, name, float("nan"), f"left out: {reason}")


def kernel_shares(run: Callable[[], Any]) -> str:
    """Say which kernels a run spends its time in; nothing without a GPU."""
    if not torch.cuda.is_available():
        return ""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run()
        torch.cuda.synchronize()
    spent = {event.key: event.device_time_total for event in profile.key_averages()}
    total = max(1, sum(spent.values()))
    longest = sorted(spent, key=lambda name: -spent[name])[:3]
    return ", ".join(f"{kernel_name(name)} {spent[name] / total:.0%}" for name in longest)


def kernel_name(signature: str) -> str:
    """Give a kernel's own name, without namespaces, template arguments and parameters."""
    plain = signature.replace("(anonymous namespace)::", "").removeprefix("void ")
    found = re.match(r"(?:\w+::)*(\w+)", plain)
    return found[1] if found else plain[:40]


def in_short(error: Exception) -> str:
    """Give an error's kind and the beginning of its text, fit for a cell of the table."""
    return f"{type(error).__name__} {' '.join(str(error).split())[:60]}".replace("|", "/")


def _time_search(
    search: gpu_peers.Search, x: Tensor, q: Tensor, clock: Clock, slow: float
) -> tuple[float, Any, int]:
    part = q[: max(_CHECKED, len(q) // 20)]
    search(x, part, K)  # compiles and warms up
    seconds, found = clock.once(lambda: search(x, part, K))
    estimate = seconds * len(q) / len(part)  # too much by what does not grow with the queries
    if estimate > _TOO_SLOW:
        return estimate, found, len(part)
    rounds = 1 if estimate > slow else _ROUNDS
    seconds, found = clock.median(lambda: search(x, q, K), rounds)
    return seconds, found, len(q)


def recall(found: Tensor, expected: Tensor) -> float:
    """Share of the expected row numbers that were found, over the queries that both have."""
    count = min(len(found), len(expected), 10_000)
    same = found[:count, :, None].long() == expected[:count, None, :]
    return float(same.any(dim=1).float().mean())


def check(x: Tensor, q: Tensor, distance: Tensor, found: Tensor) -> str:
    """Compare the first queries, to the bit, with the rows a float64 product cannot exclude."""
    points = q[:_CHECKED].double()
    blocks = x.split(1 << 17)
    squares = torch.cat(
        [
            block.double().square().sum(dim=1) - 2.0 * (points @ block.double().T)
            for block in blocks
        ],
        dim=1,
    ) + points.square().sum(dim=1, keepdim=True)
    kth = squares.topk(K, dim=1, largest=False).values[:, -1]
    slack = 1e-9 * float(squares.abs().max())
    for i in range(len(points)):
        near = torch.nonzero(squares[i] <= kth[i] + slack)[:, 0]
        rows = x[near].double().cpu().numpy()
        exact = reference.squared_distances(points[i : i + 1].cpu().numpy(), rows)[0]
        order = np.lexsort((near.cpu().numpy(), exact))[:K]
        if not np.array_equal(near.cpu().numpy()[order], found[i].cpu().numpy()):
            return f"WRONG rows at query {i}"
        expected = np.sqrt(exact[order]).astype(np.float32)
        if not np.array_equal(expected, distance[i].cpu().numpy()):
            return f"WRONG distances at query {i}"
    return f"{len(points)} queries checked"


# ---- synthesis --------------------------------------------------------------------------------


def synthesis_lines(n: int, d: int, device: torch.device, clock: Clock) -> Iterator[Line]:
    """Time rows of a plan against a copy of as many rows, both in bytes read and written."""
    case = f"synthesis of {n} x {d} float32"
    rng = np.random.default_rng(0)
    minority = n // 20
    y = (np.arange(n // 4) < minority).astype(np.int64)
    x = torch.from_numpy(rng.standard_normal((n // 4, d), np.float32)).to(device)
    row_bytes = 4 * d
    out = torch.empty(n, d, device=device)
    source = torch.empty_like(out)
    for backend in ("cuda", "triton") if device.type == "cuda" else ("cpu",):
        try:
            plan = ex.SynthesisPlan.eos(x, y, {1: minority + n}, k=K, backend=backend)
        except RuntimeError as error:
            yield Line(case, f"expansive {backend}", float("nan"), in_short(error))
            continue
        seconds, _ = clock.median(lambda plan=plan: plan.generate(x, out=out))
        rate = 3 * n * row_bytes / seconds / 1e9
        yield Line(case, f"expansive {backend}", seconds, f"{rate:.0f} GB/s read and written")
    seconds, _ = clock.median(lambda: out.copy_(source))
    yield Line(case, "copy", seconds, f"limit, {2 * n * row_bytes / seconds / 1e9:.0f} GB/s")


# ---- the table --------------------------------------------------------------------------------


def gaussian(n: int, d: int, q: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Make independent normal rows and queries where they are searched."""
    generator = torch.Generator(device).manual_seed(d)
    x = torch.randn(n, d, generator=generator, device=device)
    return x, torch.randn(q, d, generator=generator, device=device)


def embeddings(path: Path, q: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Bring trained embeddings to the device, rows and queries."""
    x, queries = data.rows_and_queries(lambda: data.load_rows(path), q)
    return torch.from_numpy(x).to(device), torch.from_numpy(queries).to(device)


Case = tuple[str, Callable[[], tuple[Tensor, Tensor]]]


def cases(args: argparse.Namespace, device: torch.device) -> Iterator[Case]:
    """Title, and maker of rows and queries."""
    n, q = (2000, 300) if args.smoke else (1_000_000, 100_000)
    for d in (8, 33) if args.smoke else (64, 128, 512, 2048):
        title = f"gaussian {n} x {d}, q={q}, k={K}"
        yield title, lambda d=d: gaussian(n, d, q, device)
    if args.embeddings is not None and not args.smoke:
        title = f"trained embeddings ({args.embeddings.stem}), q={q}, k={K}"
        yield title, lambda: embeddings(args.embeddings, q, device)


def all_lines(args: argparse.Namespace, device: torch.device, clock: Clock) -> Iterator[Line]:
    """Run everything."""
    for title, load in cases(args, device):
        if args.only in title:
            yield from search_lines(title, *load(), clock)
    size = (2000, 16) if args.smoke else (1_000_000, 512)
    if args.only in "synthesis":
        yield from synthesis_lines(*size, device, clock)


def to_markdown(lines: list[Line], device: torch.device) -> str:
    """Make the table; ratio is a contestant's time over ours, above 1 we are faster."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    text = [
        f"`python {' '.join(sys.argv)}`, {time.strftime('%Y-%m-%d')}, {name}, torch "
        f"{torch.__version__}, expansive {ex.__version__}",
        "",
        "| case | contestant | seconds | ratio | |",
        "|---|---|---:|---:|---|",
    ]
    ours: dict[str, float] = {}  # the first of ours that ran
    for line in lines:
        if line.name.startswith("expansive") and not math.isnan(line.seconds):
            ours.setdefault(line.case, line.seconds)
        ratio = line.seconds / ours.get(line.case, math.nan)
        text.append(
            f"| {line.case} | {line.name} | {line.seconds:.4f} | {ratio:.2f} | {line.note} |"
        )
    return "\n".join([*text, ""])


def main() -> None:
    """Run everything and print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = data.default_embeddings()
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--device", default="cuda", help="torch's name of it")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--minutes", type=float, default=7.0, help="start nothing after that")
    parser.add_argument("--only", default="", help="cases with this in their title, such as x 64,")
    parser.add_argument(
        "--embeddings", type=Path, default=default if default.is_file() else None, help="their file"
    )
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device; --smoke --device cpu shows that it runs")
    lines: list[Line] = []
    for line in all_lines(args, device, Clock(device, 60.0 * args.minutes)):
        print(line, flush=True)
        lines.append(line)
        if args.out is not None:  # what there is, in case a contestant takes the process with it
            with atomic_write(args.out) as path:
                path.write_text(to_markdown(lines, device))
    print(to_markdown(lines, device))


if __name__ == "__main__":
    main()
