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
    ("strategy", "make"),
    [
        ("eos", SynthesisPlan.eos),
        ("smote", SynthesisPlan.smote),
        ("random", SynthesisPlan.random),
    ],
)
def test_oversample_draws_from_as_many_neighbours_as_the_method(
    source, tmp_path, capsys, strategy, make
):
    run(capsys, "oversample", source, tmp_path / "o.npz", "--method", strategy)
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


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        *(("bool", "float32"), ("uint8", "float32"), ("int16", "float32")),
        *(("int32", "float64"), ("int64", "float64"), ("uint64", "float64")),
        *(("float16", "float16"), ("float64", "float64")),
    ],
)
def test_oversample_writes_the_rows_of_in_as_they_are(tmp_path, capsys, kind, written):
    x, y = imbalanced()
    x = (1000 * x).astype(kind)
    if np.dtype(kind).kind in "iu":
        x[0] = np.iinfo(kind).max >> 11 if kind.endswith("64") else np.iinfo(kind).max
    files.save_arrays(tmp_path / "in.npz", x, y)
    assert run(capsys, "oversample", tmp_path / "in.npz", tmp_path / "o.npz")[0] == 0
    made, _ = files.load_arrays(tmp_path / "o.npz")
    assert made.dtype == written
    np.testing.assert_array_equal(made[:40], x)


def test_oversample_bfloat16(tmp_path, capsys):
    import torch
    from safetensors.torch import save_file

    x, y = (torch.from_numpy(array) for array in imbalanced())
    save_file({"x": x.bfloat16(), "y": y}, tmp_path / "in.safetensors")
    target = tmp_path / "out.safetensors"
    assert run(capsys, "oversample", tmp_path / "in.safetensors", target)[0] == 0
    made, _ = files.load_arrays(target)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made[:40], x.bfloat16().float().numpy())


def test_oversample_a_table_leaves_its_index_out(tmp_path, capsys):
    import pandas as pd

    x, y = imbalanced()
    frame = pd.DataFrame(x, columns=["a", "b", "c"], index=np.arange(40) * 1000).assign(y=y)
    frame.to_parquet(tmp_path / "in.parquet")
    assert run(capsys, "oversample", tmp_path / "in.parquet", tmp_path / "out.parquet")[0] == 0
    made = pd.read_parquet(tmp_path / "out.parquet")
    assert made.columns.tolist() == ["a", "b", "c", "y"]
    np.testing.assert_array_equal(made[["a", "b", "c"]][40:], SynthesisPlan.eos(x, y).generate(x))


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


@pytest.mark.parametrize("name", ["[/x]", "[red]", ":cat:"])
def test_markup_in_a_name_is_shown_as_it_is(tmp_path, capsys, name):
    x, y = imbalanced()
    source = tmp_path / f"{name.replace('/', '')}.npz"
    files.save_arrays(source, x, np.array([name, "b", "c"])[y])
    status, shown, _ = run(capsys, "gap", source, source)
    assert (status, name in shown) == (0, True)
    status, shown, _ = run(capsys, "oversample", source, source)
    assert (status, f"{source}: 40 rows" in shown) == (0, True)


def test_bench_names_its_folder_as_it_is(tmp_path, capsys, monkeypatch):
    from expansive.study import report as study_report

    monkeypatch.setattr(study_report, "write", lambda study, folder: "all numbers")
    out = tmp_path / "[red]"
    status, shown, _ = run(capsys, "bench", "--preset", "quick", "--report-only", "--out", out)
    assert (status, f"Report: {out / 'report.html'}" in shown) == (0, True)


def test_info_shows_what_a_backend_says_as_it_is(monkeypatch, capsys):
    from expansive.backends import registry

    monkeypatch.setattr(registry, "describe", lambda: [("gpu", False, "install 'expansive[gpu]'")])
    assert "install 'expansive[gpu]'" in run(capsys, "info")[1]


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


def images(path, names):
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    np.savez(path, x=x, y=np.repeat(names, 20))
    return path


TINY = ("--model", "resnet8", "--width", 4, "--epochs", 1, "--head-epochs", 1, "--no-augment")


def test_train_on_classes_of_any_name(tmp_path, capsys):
    source = images(tmp_path / "in.npz", ["$10_$", "US$\\foo$", "[/x]"])
    out = tmp_path / "[red]"
    status, shown, error = run(capsys, "train", source, "--out", out, *TINY)
    assert (status, error) == (0, "")
    assert f"Report: {out / 'report.html'}" in shown
    assert "US$\\foo$" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("step", ["table", "write_json", "write_html"])
def test_the_weights_are_there_when_the_report_fails(tmp_path, capsys, monkeypatch, step):
    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(report, step, fail)
    source = images(tmp_path / "in.npz", ["a", "b", "c"])
    status, _, error = run(capsys, "train", source, "--out", tmp_path / "run", *TINY)
    assert (status, error) == (2, "expansive: no space left\n")
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_test_rows_that_do_not_fit_are_refused_before_training(tmp_path, capsys):
    from PIL import Image

    for folder in ("train/a", "train/b", "test/a"):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(4):
            Image.new("L", (8, 8), 20 * i).save(tmp_path / folder / f"{i}.png")
    status, _, error = run(capsys, "train", tmp_path, "--out", tmp_path / "run", *TINY)
    assert (status, "class 1 is None in the data but 'b' in like" in error) == (2, True)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_second_train_is_told_of_resume_before_it_reads_the_data(tmp_path, capsys):
    (tmp_path / "run" / "checkpoints" / "1-backbone-00001").mkdir(parents=True)
    arguments = ("train", tmp_path / "absent.npz", "--out", tmp_path / "run")
    status, _, error = run(capsys, *arguments)
    assert status == 2
    assert "holds the checkpoints of a run: continue it with --resume, or name another" in error
    assert "absent.npz" in run(capsys, *arguments, "--resume")[2]


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
