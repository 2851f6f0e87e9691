"""The thread pool among Python's threads, forks and signals (in processes of their own)."""

from __future__ import annotations

import inspect
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import expansive as ex
from cases import (
    BACKENDS_UNDER_TEST,
    assert_same_bits,
    assert_same_search,
    blobs,
    make_data,
    run_python,
)
from expansive.backends import cpu, reference
from expansive.exact_neighbors import threads_of
from expansive.neighbors import thread_count

Plan = ex.SynthesisPlan
X, Y = blobs()

backends = pytest.mark.parametrize("backend", BACKENDS_UNDER_TEST)
on_the_host = pytest.mark.parametrize("backend", ["cpu"])
"""CUDA serves no forked child, and its searches are too short to look at meanwhile."""

SETUP = """
import os, signal, sys, threading, time, multiprocessing
import numpy as np
import expansive as ex
rng = np.random.default_rng(0)
x = rng.normal(size=(4000, 24)).astype(np.float32)
y = rng.integers(0, 3, 4000)
def search():
    return ex.nearest_enemies(x, y, 5, backend="{backend}", threads=3)[1].tobytes()
expected = search()
"""


def run(script: str, backend: str) -> str:
    return run_python(SETUP.format(backend=backend) + script)


# ---- how many ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, 6), ("", 6), ("2", 2), (" 3 ", 3), ("4,2", 4), ("99", 6), ("0", 6), ("-1", 6),
        ("many", 6), ("2.5", 6),
    ],
)  # fmt: skip
def test_the_default_is_limited_by_omp_num_threads(
    limit: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if limit is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert thread_count(None) == expected
    assert threads_of(None) is None
    assert threads_of(-1) == expected
    assert threads_of(-2) == max(1, expected - 1)
    assert (thread_count(5), threads_of(5)) == (5, 5)


def test_a_plan_counts_its_threads_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = make_data("normal", "two_classes", 90, 5, "float32", "euclidean", 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    used: list[int] = []

    def note(*arguments: Any) -> None:
        used.append(arguments[-1])
        reference.synthesize(*arguments)

    monkeypatch.setattr(cpu, "synthesize", note)
    plan = ex.SynthesisPlan.random(x, y, {0: 80, 1: 80}, backend="cpu")
    plan.generate(x)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in a worker
    pickle.loads(pickle.dumps(plan)).generate(x)
    fixed = ex.SynthesisPlan.random(x, y, {0: 80, 1: 80}, backend="cpu", threads=3)
    fixed.generate(x)
    assert used == [4, 1, 3]


# ---- forks ------------------------------------------------------------------------------------

FORK = """
child = os.fork()
if child == 0:
    os._exit(0 if search() == expected and search() == expected else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert search() == expected
print("done")
"""

FORK_WHILE_SEARCHING = """
stop = threading.Event()
def keep_searching():
    while not stop.is_set():
        assert search() == expected
threads = [threading.Thread(target=keep_searching) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(8):
    child = os.fork()
    if child == 0:
        os._exit(0 if search() == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
for thread in threads:
    thread.join()
print("done")
"""

FORK_POOL = """
def same(_):
    return search() == expected
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(same, range(4)) == [True] * 4
index = ex.Index(x, y, backend="{backend}", threads=2)
def rows_found(_):
    return index.search_rows(None, 5)[1].tobytes()
with multiprocessing.get_context("fork").Pool(1) as pool:  # an index made before the fork
    assert pool.map(rows_found, [0]) == [expected]
print("done")
"""

FORK_TWICE = """
child = os.fork()
if child == 0:
    search()
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if search() == expected else 1)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("done")
"""


@on_the_host
@pytest.mark.parametrize(
    "script", [FORK, FORK_WHILE_SEARCHING, FORK_TWICE], ids=["once", "while searching", "twice"]
)
def test_a_forked_child_searches(backend: str, script: str) -> None:
    assert "done" in run(script, backend)


@on_the_host
def test_a_forked_pool_searches(backend: str) -> None:
    assert "done" in run(FORK_POOL.replace("{backend}", backend), backend)


# ---- Python's threads -------------------------------------------------------------------------


@backends
def test_calls_from_several_python_threads(backend: str) -> None:
    x, y = make_data("normal", "five_classes_sorted", 1500, 17, "float32", "euclidean", 0)
    index = ex.Index(x, y, backend=backend, threads=2)
    plan = ex.SynthesisPlan.eos(x, y, dict.fromkeys(range(5), 500), backend=backend, threads=2)
    expected = {
        relation: index.search_rows(None, 6, relation) for relation in ("enemy", "friend", "any")
    }
    made = plan.generate(x)

    def work(i: int) -> None:
        relation = ("enemy", "friend", "any")[i % 3]
        assert_same_search(index.search_rows(None, 6, relation), expected[relation])
        fresh = ex.neighbors(x, y, 6, relation, backend=backend, threads=1 + i % 4)
        assert_same_search(fresh, expected[relation])
        assert_same_bits(plan.generate(x, i, len(made)), made[i:])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(24)))


@backends
def test_more_threads_than_cores(backend: str) -> None:
    x, y = make_data("small_integers", "two_classes", 700, 9, "float32", "euclidean", 0)
    expected = ex.nearest_enemies(x, y, 4, backend=backend, threads=1)
    for threads in (2, 7, 64, 10**9):
        got = ex.nearest_enemies(x, y, 4, backend=backend, threads=threads)
        assert_same_search(got, expected)


CALLS: dict[str, Callable[[int], Any]] = {
    "neighbors": lambda n: ex.neighbors(X, Y, 3, backend="reference", threads=n),
    "Index": lambda n: ex.Index(X, Y, backend="reference", threads=n).search(X, Y, 3),
    "ExactNeighbors": lambda n: ex.ExactNeighbors(n_jobs=n, backend="reference").fit(X),
    "eos": lambda n: Plan.eos(X, Y, backend="reference", threads=n).generate(X),
    "smote": lambda n: Plan.smote(X, Y, backend="reference", threads=n).generate(X),
    "random": lambda n: Plan.random(X, Y, backend="reference", threads=n).generate(X),
    "by_method": lambda n: Plan.by_method("eos", X, Y, backend="reference", threads=n).generate(X),
    "EOS": lambda n: ex.EOS(n_jobs=n, backend="reference").fit_resample(X, Y),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_backend_gets_the_threads_asked_for(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, set[int]] = {}

    def spy_on(owner: Any, name: str) -> None:
        original = getattr(owner, name)
        position = list(inspect.signature(original).parameters).index("threads")

        def spy(*arguments: Any) -> Any:
            given.setdefault(name, set()).add(arguments[position])
            return original(*arguments)

        monkeypatch.setattr(owner, name, spy)

    for name in ("scan", "build_index", "synthesize"):
        spy_on(reference, name)
    spy_on(reference.Index, "search")
    CALLS[call](5)
    assert len(given) >= 2
    assert set().union(*given.values()) == {5}


def test_all_cores_the_process_may_use_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 5, 7}, raising=False)
    assert thread_count(None) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    for found, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda found=found: found)
        assert thread_count(None) == expected


GIL = """
index = ex.Index(rng.normal(size=(16000, 128)).astype(np.float32), backend="{backend}", threads=1)
ticks, done = [], threading.Event()
def tick():
    while not done.is_set():
        ticks.append(time.perf_counter())
        time.sleep(0.001)
thread = threading.Thread(target=tick)
thread.start()
start = time.perf_counter()
index.search_rows(None, 5, "any")
stop = time.perf_counter()
done.set()
thread.join()
during = [t for t in ticks if start < t < stop]
gaps = np.diff([start, *during, stop])
assert stop - start > 0.05, "too quick to tell"
assert gaps.max() < max(0.1, (stop - start) / 3), (stop - start, gaps.max())
print("done")
"""


@on_the_host
def test_other_python_threads_run_during_a_search(backend: str) -> None:
    assert "done" in run(GIL.replace("{backend}", backend), backend)


# ---- Ctrl-C -----------------------------------------------------------------------------------

# The signal comes while the call is at work; its handler's KeyboardInterrupt must come through.
INTERRUPT = """
big = rng.normal(size=(150_000, 256)).astype(np.float32)
index = ex.Index(big, rng.integers(0, 3, len(big)), backend="{backend}", threads={threads})
sent = []
def interrupt():
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
for attempt in range(2):
    threading.Timer(0.7, interrupt).start()
    try:
        index.search_rows(None, 10, "{relation}")
    except KeyboardInterrupt:
        seconds = time.perf_counter() - sent[-1]
    else:
        raise SystemExit("the search was not interrupted")
    assert seconds < 1, seconds
assert search() == expected
print("done")
"""


@on_the_host
@pytest.mark.parametrize(("threads", "relation"), [(1, "any"), (2, "enemy"), (3, "friend")])
def test_an_interrupt_stops_a_search_within_a_second(
    backend: str, threads: int, relation: str
) -> None:
    script = INTERRUPT.format(backend=backend, threads=threads, relation=relation)
    assert "done" in run(script, backend)


# On the CPU the handler runs during the first search; on a GPU many are over before it does.
HANDLED = """
index = ex.Index(rng.normal(size=(30_000, 128)).astype(np.float32), backend="{backend}", threads=2)
found, seen = [], []
signal.signal(signal.SIGALRM, lambda *_: seen.append(len(found)))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
while not seen:
    found.append(index.search_rows(None, 3, "any"))
signal.setitimer(signal.ITIMER_REAL, 0)
assert "{backend}" == "cuda" or seen[0] == 0, "the handler did not run during the first search"
dist, rows = index.search_rows(None, 3, "any")
for again in found:
    assert again[0].tobytes() == dist.tobytes() and again[1].tobytes() == rows.tobytes()
print("done")
"""


@backends
def test_a_handled_signal_does_not_stop_a_search(backend: str) -> None:
    assert "done" in run(HANDLED.replace("{backend}", backend), backend)


@backends
def test_results_own_their_memory(backend: str) -> None:
    x, y = make_data("normal", "two_classes", 300, 5, "float32", "euclidean", 0)
    index = ex.Index(x.copy(), y, backend=backend)
    dist, idx = index.search_rows(None, 3)
    del index
    np.testing.assert_array_equal(idx, ex.nearest_enemies(x, y, 3, backend=backend)[1])
    assert dist.flags.writeable
    assert idx.flags.writeable


# ---- the end of the process ---------------------------------------------------------------------

DAEMON = """
big = np.zeros((60_000, 64), np.float32)
big[:] = rng.normal(size=64)  # all alike: all of it is measured
work = {work}
threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
print("end")
"""


@pytest.mark.parametrize(
    "work",
    [
        "lambda: ex.neighbors(big, None, 5, 'any')",
        "lambda: [ex.Index(big[:999], expected_queries=9000) for _ in range(100_000)]",
    ],
)
def test_a_thread_that_outlives_the_interpreter(work: str) -> None:
    assert run(DAEMON.format(work=work), "cpu").strip() == "end"
