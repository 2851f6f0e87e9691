import json
import sys

import numpy as np
import pytest

from expansive import cli, files, report
from expansive.cli import demo
from expansive.files import SUFFIXES
from expansive.synthesis import SynthesisPlan

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True)
def _plain_wide_terminal(monkeypatch):
    from expansive.cli import commands

    monkeypatch.delenv(cli.TRACEBACK, raising=False)
    monkeypatch.setattr(commands.console, "_width", 200)


def run(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def imbalanced():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    return x, np.array([0] * 25 + [1] * 10 + [2] * 5)


@pytest.fixture
def source(tmp_path):
    files.save_arrays(tmp_path / "in.npz", *imbalanced())
    return tmp_path / "in.npz"


# ---- oversample -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_oversample_writes_the_rows_and_the_plan_in_every_format(source, tmp_path, capsys, suffix):
    target = tmp_path / f"out{suffix}"
    labels = tmp_path / "out_y.npy" if suffix == ".npy" else None
    extra = ["--out-labels", labels] if labels else []
    status, shown, _ = run(capsys, "oversample", source, target, "--seed", 3, "--k", 4, *extra)
    assert status == 0
    assert "40 rows and 35 synthetic ones" in shown
    x, y = imbalanced()
    plan = SynthesisPlan.eos(x, y, k=4, seed=3)
    made_x, made_y = files.load_arrays(target, labels=labels)
    assert made_x.dtype == np.float32
    np.testing.assert_array_equal(made_x, np.concatenate([x, plan.generate(x, 0, 35)]))
    np.testing.assert_array_equal(made_y, np.concatenate([y, plan.labels(0, 35)]))
    assert np.bincount(made_y).tolist() == [25, 25, 25]


def test_oversample_in_slices_gives_the_same_rows(source, tmp_path, capsys, monkeypatch):
    from expansive.cli import commands

    run(capsys, "oversample", source, tmp_path / "whole.npz")
    monkeypatch.setattr(commands, "ROWS_PER_SLICE", 7)
    run(capsys, "oversample", source, tmp_path / "sliced.npz")
    whole, sliced = (files.load_arrays(tmp_path / f"{name}.npz") for name in ("whole", "sliced"))
    np.testing.assert_array_equal(whole[0], sliced[0])
    np.testing.assert_array_equal(whole[1], sliced[1])


@pytest.mark.parametrize(
    ("strategy", "make"), [("smote", SynthesisPlan.smote), ("random", SynthesisPlan.random)]
)
def test_oversample_with_the_other_strategies(source, tmp_path, capsys, strategy, make):
    run(capsys, "oversample", source, tmp_path / "o.npz", "--method", strategy, "--k", 5)
    x, y = imbalanced()
    made, _ = files.load_arrays(tmp_path / "o.npz")
    np.testing.assert_array_equal(made[40:], make(x, y).generate(x, 0, 35))


def test_oversample_a_mapped_npy_of_images_to_half_precision(tmp_path, capsys):
    x, y = imbalanced()
    images = np.repeat(x[:, :, None, None], 2, axis=3)
    files.save_arrays(tmp_path / "x.npy", images, y, labels=tmp_path / "y.npy")
    status, _, _ = run(
        capsys,
        *("oversample", tmp_path / "x.npy", tmp_path / "o.npz"),
        *("--labels", tmp_path / "y.npy", "--dtype", "float16"),
    )
    assert status == 0
    made, _ = files.load_arrays(tmp_path / "o.npz")
    assert made.shape == (75, 3, 1, 2)
    assert made.dtype == np.float16


def test_oversample_a_table_keeps_its_columns(tmp_path, capsys):
    import pandas as pd

    x, y = imbalanced()
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(kind=np.array(["p", "q", "r"])[y])
    frame.to_parquet(tmp_path / "in.parquet")
    target = tmp_path / "out.parquet"
    status, _, _ = run(capsys, "oversample", tmp_path / "in.parquet", target, "--y-key", "kind")
    assert status == 0
    made = pd.read_parquet(target)
    assert made.columns.tolist() == ["a", "b", "c", "kind"]
    assert made["kind"].value_counts().to_dict() == {"p": 25, "q": 25, "r": 25}


def test_an_unwritable_output_is_refused_before_the_input_is_read(tmp_path, capsys):
    status, _, error = run(capsys, "oversample", tmp_path / "absent.npz", tmp_path / "no" / "o.npz")
    assert status == 2
    assert "no' does not exist; create it first" in error


def test_errors_are_one_line_and_leave_no_file(source, tmp_path, capsys):
    cases = [
        (["--y-key", "target"], "has no 'target'; it holds x, y"),
        (["--k", "0"], "k must be an integer of at least 1; got 0"),
        (["--backend", "abacus"], "unknown backend 'abacus'; choose one of"),
    ]
    for arguments, message in cases:
        status, _, error = run(capsys, "oversample", source, tmp_path / "o.npz", *arguments)
        assert status == 2
        assert error.startswith("expansive: ")
        assert message in error
        assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.npz"]


def test_a_traceback_is_there_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv(cli.TRACEBACK, "1")
    with pytest.raises(FileNotFoundError):
        cli.main(["gap", str(tmp_path / "a.npz"), str(tmp_path / "b.npz")])


# ---- gap, info, help --------------------------------------------------------------------------


def test_gap_shows_a_number_per_class_and_the_mean(tmp_path, capsys):
    x = np.array([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0], [6.0, 6.0]])
    y = np.array(["ant", "ant", "bee", "bee"])
    files.save_arrays(tmp_path / "a.npz", x, y)
    files.save_arrays(tmp_path / "b.npz", x + np.array([[3.0, 0.0]] * 2 + [[0.0, 0.0]] * 2), y)
    status, shown, _ = run(capsys, "gap", tmp_path / "a.npz", tmp_path / "b.npz")
    assert status == 0
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()}
    assert rows["ant"] == ["2", "3"]
    assert rows["bee"] == ["2", "0"]
    assert rows["mean"] == ["1.5"]


def test_info_names_versions_and_the_backend_that_runs(capsys):
    from expansive.backends import registry

    status, shown, _ = run(capsys, "info")
    assert status == 0
    for word in ("expansive", "numpy", np.__version__, "torch", "triton", "CUDA"):
        assert word in shown
    used = next(line for line in shown.splitlines() if "used: " in line)
    assert f"backend {registry.default_backend_name()}" in used


@pytest.mark.parametrize("command", [[], ["demo"], ["train"], ["oversample"], ["gap"], ["info"]])
def test_help_is_there_for_every_command(capsys, command):
    status, shown, _ = run(capsys, *command, "--help")
    assert status == 0
    assert "Usage: expansive" in shown


def test_a_usage_error_exits_with_2(capsys):
    assert run(capsys, "oversample")[0] == 2
    assert run(capsys, "levitate")[0] == 2


def test_without_the_extra_the_command_names_the_pip_command(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "typer", None)
    status, _, error = run(capsys, "info")
    assert status == 2
    assert "pip install 'expansive[train]'" in error


# ---- train and demo ---------------------------------------------------------------------------


def test_train_on_digits_writes_everything(tmp_path, capsys):
    out = tmp_path / "run"
    status, shown, error = run(
        capsys,
        *("train", "digits", "--out", out, "--model", "resnet8", "--width", 4, "--imbalance", 10),
        *("--epochs", 1, "--head-epochs", 1, "--no-augment", "--k", 5),
    )
    assert (status, error) == (0, "")
    assert "Balanced accuracy" in shown
    kept = {path.name for path in out.iterdir()}
    assert kept >= {"report.html", "metrics.json", "model.safetensors", "long_tail.npz"}
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["settings"]["k"] == 5
    assert max(metrics["train_counts"]) / min(metrics["train_counts"]) > 8


def test_train_refuses_what_it_cannot_train(tmp_path, capsys, source):
    status, _, error = run(capsys, "train", "digits", "--out", tmp_path / "r", "--model", "vit")
    assert (status, "unknown model 'vit'; give resnetDEPTH (resnet32), wrn-" in error) == (2, True)
    status, _, error = run(capsys, "train", source, "--out", tmp_path / "r")
    assert (status, "resnet32 needs images" in error) == (2, True)
    status, _, error = run(capsys, "train", "digits", "--out", source)
    assert (status, "in.npz" in error) == (2, True)


def test_demo_falls_back_to_digits_and_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EXPANSIVE_DATA", str(tmp_path / "nothing"))
    monkeypatch.setitem(demo.RECIPES["digits"], "epochs", 1)
    monkeypatch.setitem(demo.RECIPES["digits"], "head_epochs", 1)
    status, shown, _ = run(capsys, "demo", "--out", tmp_path / "demo")
    assert status == 0
    assert "digits, long tail 50:1" in shown
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "Expansive demo: digits" in page
    metrics = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    assert set(metrics["seconds"]) == {"backbone", "expand", "head"}
    assert report.UNDEFINED not in metrics["classes"]
