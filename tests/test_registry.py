"""Backends: which there are, which runs, and which instruction set."""

from __future__ import annotations

import numpy as np
import pytest

import expansive as ex
from cases import BACKENDS_UNDER_TEST, ISAS
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
