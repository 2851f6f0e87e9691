"""Backends: which there are, which runs, and which instruction set."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import expansive as ex
from cases import BACKENDS_UNDER_TEST, ISAS
from expansive import arrays
from expansive.backends import registry

X, Y = np.eye(4, dtype=np.float32), [0, 1, 0, 1]


def test_every_backend_describes_itself() -> None:
    rows = {name: (available, text) for name, available, text in registry.describe()}
    assert set(rows) >= {"reference", *BACKENDS_UNDER_TEST}
    for name in ("reference", *BACKENDS_UNDER_TEST):
        assert rows[name][0]
    assert all(text and "\n" not in text for _, text in rows.values())
    assert np.__version__ in rows["reference"][1]


def test_the_compiled_backend_runs_by_default() -> None:
    assert registry.default_backend_name() != "reference"
    assert registry.get_backend() is registry.get_backend(registry.default_backend_name())


def test_an_unknown_backend_lists_the_choices() -> None:
    with pytest.raises(ValueError, match=r"unknown backend 'cpuu'; choose one of 'cpu', .*'refer"):
        registry.get_backend("cpuu")


def test_a_backend_that_cannot_run_says_why_and_never_falls_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from expansive.backends import cpu

    monkeypatch.setattr(cpu, "unavailable", lambda: "it was taken out")
    with pytest.raises(RuntimeError, match="'cpu' cannot run here: it was taken out"):
        ex.neighbors(X, Y, 1, backend="cpu")
    assert registry.default_backend_name() != "cpu"
    assert ("cpu", False, "it was taken out") in registry.describe()


def test_the_compiled_backend_hands_on_threads_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from expansive.backends import cpu

    given: dict[str, tuple[Any, ...]] = {}

    def watched(owner: Any, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            given[name] = arguments
            return getattr(owner, name)(*arguments)

        return call

    def with_watched(owner: str, name: str) -> Callable[..., Any]:
        make = watched(core, owner)

        def made(*arguments: Any) -> Any:
            return SimpleNamespace(**{name: watched(make(*arguments), name)})

        return made

    core, threads, budget, expected = cpu._core, 3, 1 << 22, registry.Expected(7, 2, "enemy")
    names = {name: watched(core, name) for name in ("scan", "fingerprint", "interpolate")}
    index, tables = with_watched("Index", "search"), with_watched("PartnerTables", "synthesize")
    monkeypatch.setattr(cpu, "_core", SimpleNamespace(**names, Index=index, PartnerTables=tables))

    x, out = arrays.as_rows(2 * X), arrays.as_rows(np.empty((2, 4), np.float32))
    codes, rows = np.array(Y), np.arange(4)
    made = cpu.build_index(x, 2.0, codes, 2, "cosine", expected, threads, budget)
    assert (given["Index"][2], given["Index"][-5:]) == (2.0, (*expected, threads, budget))
    made.search(x, codes, rows, 1, "enemy", threads, budget)
    assert given["search"][-2:] == (threads, budget)
    start = np.array([0, 1])
    partners = registry.Partners(2 * start, start, rows[:1], start, rows[1:2], 5, 0.0, 1.0)
    cpu.synthesize(x, partners, range(2), out, threads)
    cpu.interpolate(x, rows[:2], rows[2:], np.ones(2), out, threads)
    cpu.scan(x, threads)
    cpu.fingerprint(x, threads)
    for name in ("synthesize", "interpolate", "scan", "fingerprint"):
        assert given[name][-1] == threads


@pytest.mark.parametrize("isa", ISAS)
def test_the_instruction_set_can_be_chosen(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from expansive import _core

    monkeypatch.setenv("EXPANSIVE_ISA", isa)
    assert _core.isa() == isa
    assert ex.neighbors(X, Y, 1, backend="cpu")[1].tolist() == [[1], [0], [1], [0]]


def test_the_best_instruction_set_is_chosen_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from expansive import _core

    for value in (None, ""):
        monkeypatch.delenv("EXPANSIVE_ISA", raising=False)
        if value is not None:
            monkeypatch.setenv("EXPANSIVE_ISA", value)
        assert _core.isa() == ISAS[-1]


@pytest.mark.parametrize("isa", ["avx1024", "AVX2", "avx2 ", "neon"])
def test_an_instruction_set_that_is_not_here_is_refused(
    isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPANSIVE_ISA", isa)
    choices = ", ".join(ISAS)
    message = f"EXPANSIVE_ISA is '{isa}', which this processor lacks; choose one of {choices}"
    with pytest.raises(ValueError, match=f"^{message}$"):
        ex.Index(X, Y, backend="cpu")
    monkeypatch.delenv("EXPANSIVE_ISA")
    assert ex.neighbors(X, Y, 1, backend="cpu")[1].tolist() == [[1], [0], [1], [0]]
