import json
import sys

import numpy as np
import pytest

import expansive
from command_line import imbalanced, run
from expansive import cli, datasets, files, report
from expansive.cli import demo

pytestmark = pytest.mark.train


@pytest.fixture
def source(tmp_path):
    files.save_arrays(tmp_path / "in.npz", *imbalanced())
    return tmp_path / "in.npz"


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
    target = source.with_suffix(".parquet")
    status, shown, _ = run(capsys, "oversample", source, target)
    assert (status, f"{target}: 40 rows" in shown) == (0, True)


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
    for option in ("--help", "-h"):
        status, shown, _ = run(capsys, *command, option)
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


@pytest.mark.parametrize("command", ["train", "oversample", "gap"])
def test_an_interrupted_command_says_so(tmp_path, capsys, monkeypatch, command):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "load", interrupt)
    monkeypatch.setattr(files, "load_arrays", interrupt)
    out = ("--out", tmp_path / "run") if command == "train" else (tmp_path / "b.npz",)
    how = "; the same command with --resume continues" if command == "train" else ""
    assert run(capsys, command, tmp_path / "a.npz", *out) == (130, "", f"interrupted{how}\n")


def test_the_version_is_shown(capsys):
    assert run(capsys, "--version") == (0, f"expansive {expansive.__version__}\n", "")


# ---- bench ------------------------------------------------------------------------------------


def test_bench_refuses_what_is_no_study(tmp_path, capsys, source):
    for arguments, message in (
        (
            [tmp_path / "absent.yaml"],
            "absent.yaml'; give the YAML file of a study, or one of q",
        ),
        ([source], "in.npz' is not text; give the YAML file of a study"),
        ([tmp_path / "absent.yaml", "--threads", 0], "--threads must be an integer of at least 1"),
        (["--preset", "quick", "--source", "digits"], "source must be NAME=SOURCE, not 'digits'"),
        (["--preset", "quick", "--source", "=a.npz"], "source must be NAME=SOURCE, not ''"),
        (["--preset", "fast"], "unknown preset 'fast'; choose one of 'quick', 'unaugmented'"),
    ):
        status, _, error = run(capsys, "bench", *arguments)
        assert (status, message in error) == (2, True), error


def test_bench_says_how_many_cells_are_left(tmp_path, capsys, monkeypatch):
    from expansive.study import report as study_report
    from expansive.study import run as study_run

    asked = []

    def stopped(study, out, console, **options):
        asked.append(options)
        return study_run.Outcome(5, 2, 3)

    monkeypatch.setattr(study_run, "run", stopped)
    monkeypatch.setattr(study_report, "write", lambda study, folder: "all numbers")
    options = ["--only", "*eos*", "--max-minutes", 2, "--cpu"]
    status, shown, _ = run(capsys, "bench", "--preset", "quick", "--out", tmp_path, *options)
    assert status == 0
    assert "5 cells have a result (2 failed), 3 are left: run the same command again" in shown
    assert asked == [{"only": "*eos*", "max_minutes": 2.0, "cpu": True}]


def test_bench_that_was_stopped_before_any_result_reports_nothing(tmp_path, capsys, monkeypatch):
    from expansive.study import run as study_run

    monkeypatch.setattr(study_run, "run", lambda *args, **options: study_run.Outcome(0, 0, 72))
    status, shown, _ = run(capsys, "bench", "--preset", "quick", "--out", tmp_path)
    assert status == 0
    assert "72 are left: run the same command again" in shown


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
