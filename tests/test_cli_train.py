"""`expansive train` and `expansive demo`: what is refused, and what a refusal leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expansive import cli

pytestmark = pytest.mark.train

SMALL = ("--model", "resnet8", "--width", 4, "--imbalance", 10, "--no-augment", "--k", 5)
SHORT = ("--epochs", 1, "--head-epochs", 1)


@pytest.fixture(autouse=True)
def _plain_wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from expansive.cli import commands

    monkeypatch.delenv(cli.TRACEBACK, raising=False)
    monkeypatch.setattr(commands.console, "_width", 200)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def give(*arguments: Any) -> tuple[int, str]:
        status = cli.main([str(argument) for argument in arguments])
        return status, capsys.readouterr().err

    return give


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    given = [str(word) for word in ("train", "digits", "--out", out, *SMALL, *SHORT)]
    assert cli.main(given) == 0
    return out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--imbalance", 11), "written with imbalance=10.0, and this run has 11.0: use the same"),
        (("--augment",), "written with augment=False, and this run has True"),
        (("--model", "resnet14"), "written with model='resnet8', and this run has 'resnet14'"),
        (("--width", 8), "written with width=4, and this run has 8"),
        (("--seed", 1), "written with seed=0, and this run has 1"),
        (("--image-size", 8), "written with image_size=None, and this run has 8"),
    ],
)
def test_a_resume_of_another_run_is_refused_and_leaves_its_files(
    finished: Path, run: Any, change: tuple[Any, ...], message: str
) -> None:
    files = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    given = ("train", "digits", "--out", finished, *SMALL, *SHORT, *change, "--resume")
    status, error = run(*given)
    assert (status, message in error) == (2, True), error
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == files


def test_the_same_run_is_resumed_and_its_results_say_what_it_was(finished: Path, run: Any) -> None:
    kept = (finished / "long_tail.npz").read_bytes()
    assert run("train", "digits", "--out", finished, *SMALL, *SHORT, "--resume") == (0, "")
    assert (finished / "long_tail.npz").read_bytes() == kept
    settings = json.loads((finished / "metrics.json").read_text())["settings"]
    about = {"model": "resnet8", "width": 4, "data": "digits", "imbalance": 10, "augment": False}
    assert settings | about | {"head": "fc"} == settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("random", "--k", 3), "--method random takes no --k; leave it out, or choose --method"),
        (("smote", "--enemies", "nearest"), "or choose --method eos"),
        (("random", "--expansion", 0, 1), "choose --method eos or smote"),
    ],
)
def test_an_option_that_the_method_ignores_is_refused(
    tmp_path: Path, run: Any, given: tuple[Any, ...], message: str
) -> None:
    status, error = run("train", "digits", "--out", tmp_path / "run", "--method", *given)
    assert (status, message in error) == (2, True), error
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_other_names_and_labels_in_a_second_file(tmp_path: Path, run: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    labels = np.repeat(["a", "b", "c"], 10)
    np.savez(tmp_path / "in.npz", images=images, kinds=labels)
    np.save(tmp_path / "in.npy", images)
    np.save(tmp_path / "kinds.npy", labels)
    tiny = (*SMALL[:4], "--no-augment", *SHORT)
    named = ("--x-key", "images", "--y-key", "kinds")
    for name, extra in (("in.npz", named), ("in.npy", ("--labels", tmp_path / "kinds.npy"))):
        out = tmp_path / f"run-{name}"
        assert run("train", tmp_path / name, "--out", out, *tiny, *extra) == (0, "")
        assert json.loads((out / "metrics.json").read_text())["classes"] == ["a", "b", "c"]


def test_arrays_that_are_missing_are_named_by_their_options(tmp_path: Path, run: Any) -> None:
    np.savez(tmp_path / "in.npz", images=np.zeros((4, 8, 8)), y=np.zeros(4))
    np.save(tmp_path / "in.npy", np.zeros((4, 8, 8)))
    for name, extra, message in (
        ("in.npz", (), "no 'x'; it holds images, y; name yours with x_key and y_key (--x-key and"),
        ("in.npy", (), "name it with --labels"),
        ("digits", ("--labels", tmp_path / "in.npy"), "is for a .npy, but 'digits' is none"),
    ):
        source = tmp_path / name if "." in name else name
        status, error = run("train", source, "--out", tmp_path / "run", *extra)
        assert (status, message in error) == (2, True), error


def test_a_refused_run_leaves_no_file(tmp_path: Path, run: Any) -> None:
    out = tmp_path / "run"
    status, error = run("train", "digits", "--out", out, *SMALL, "--epochs", 0)
    assert (status, "epochs must be an integer of at least 1; got 0" in error) == (2, True)
    status, error = run("train", "digits", "--out", out, *SMALL, "--head", "foo")
    assert (status, error.count(",") < 8) == (2, True)
    assert "'foo' does not; its last are" in error
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("command", [("train", "digits"), ("demo",)])
def test_a_file_in_place_of_the_folder_is_refused(
    tmp_path: Path, run: Any, command: tuple[str, ...]
) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    for out in (taken, taken / "run"):
        status, error = run(*command, "--out", out)
        assert status == 2
        assert f"--out {str(out)!r} is a file or lies in one: name a folder" in error


@pytest.mark.parametrize("command", [("train", "digits"), ("demo",)])
def test_a_seed_below_zero_is_refused(tmp_path: Path, run: Any, command: tuple[str, ...]) -> None:
    status, error = run(*command, "--out", tmp_path / "run", "--seed", -1)
    assert (status, "seed must be an integer in [0, 2**64); got -1" in error) == (2, True)
    assert not (tmp_path / "run").exists()
