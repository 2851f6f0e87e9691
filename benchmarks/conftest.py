"""Options, equal threads for all, and one table of ratios at the end of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import data
import peers
import pytest
from threadpoolctl import threadpool_limits

from expansive.backends.registry import default_backend_name
from expansive.neighbors import default_threads


@dataclass(frozen=True)
class Result:
    """One contestant on one case; `score` says how far its answer agrees with ours."""

    case: str
    name: str
    seconds: float
    score: str


RESULTS = pytest.StashKey[list[Result]]()
REAL = pytest.StashKey[list[data.RealData]]()
MISSING = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("expansive benchmarks")
    for size, text in (("full", "the published sizes"), ("smoke", "seconds: does it run at all")):
        group.addoption(
            f"--{size}",
            dest="size",
            action="store_const",
            const=size,
            default="small",
            help=f"run {text}; without --full and --smoke: minutes on two cores",
        )
    group.addoption("--threads", type=int, default=default_threads(), help="threads for everyone")
    group.addoption("--rounds", type=int, default=5, help="timed runs of each contestant")
    group.addoption(
        "--patience",
        type=float,
        default=10.0,
        help=f"seconds: {' and '.join(peers.SLOW)} are only estimated where they take longer",
    )
    data.add_file_options(group.addoption)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = []
    files = config.getoption("cifar"), config.getoption("embeddings")
    config.stash[REAL], config.stash[MISSING] = data.real_data(*files)


@pytest.fixture(scope="session")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    n: int = request.config.getoption("--threads")
    with threadpool_limits(n):
        peers.use_threads(n)
        yield n


class Measure:
    """Times contestants, and keeps the results for the table."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    def __call__(
        self, case: str, name: str, run: Callable[..., Any], *args: Any, score: Any = None
    ) -> None:
        """Time ``run(*args)`` after one warm-up.

        `score` turns the result into a text: how far it agrees with ours.
        """
        benchmark = self._request.getfixturevalue("benchmark")
        benchmark.group = case
        rounds = self._request.config.getoption("--rounds")
        result = benchmark.pedantic(run, args, rounds=rounds, warmup_rounds=1)
        agreement = score(result) if score else ""
        benchmark.extra_info["agreement"] = agreement
        self.record(case, name, benchmark.stats.stats.median, agreement)

    def record(self, case: str, name: str, seconds: float, agreement: str) -> None:
        """Keep a result for the table."""
        self._request.config.stash[RESULTS].append(Result(case, name, seconds, agreement))


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    return Measure(request)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    results = config.stash[RESULTS]
    if not results:
        return
    terminalreporter.section("ratios: median time of each / median time of expansive")
    terminalreporter.line(
        f"{config.getoption('--threads')} threads for everyone, backend {default_backend_name()}; "
        "above 1 expansive is faster; in brackets: agreement with expansive; "
        f"{', '.join(peers.LIMITS)} are limits, not peers"
    )
    for line in config.stash[MISSING]:
        terminalreporter.line(line)
    for case in dict.fromkeys(result.case for result in results):
        for line in table([result for result in results if result.case == case]):
            terminalreporter.line(line)


def table(results: list[Result]) -> list[str]:
    """Lay out one case: a title, then a line for each contestant, and the best peer last."""
    ours = next((result for result in results if result.name == peers.OURS), None)
    lines = ["", results[0].case]
    for result in results:
        ratio = f"{result.seconds / ours.seconds:8.2f}" if ours else " " * 8
        score = f"   [{result.score}]" if result.score else ""
        lines.append(f"  {result.name:<28}{1e3 * result.seconds:12.1f} ms{ratio}{score}")
    rivals = [
        result
        for result in results
        if not result.name.startswith(peers.OURS) and result.name not in peers.LIMITS
    ]
    if ours and rivals:
        best = min(rivals, key=lambda result: result.seconds)
        ratio = best.seconds / ours.seconds
        lines.append(f"  best peer / expansive: {ratio:.2f} ({best.name})")
    return lines
