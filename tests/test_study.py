import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from expansive import cli
from expansive.study import blocks, measure, networks, pictures, plan, reading, report, results, run
from expansive.study.cells import Cells, held

pytestmark = pytest.mark.train

torch.set_num_threads(1)

TINY = """
title: Tiny
data: [{source: digits, imbalance: 20, augment: false}]
backbones: [{name: resnet8, width: 2}]
losses: [ce]
methods: [none, smote, eos, {eos: {k: 20}}]
seeds: 2
schedule: {epochs: 2, batch_size: 64, warmup_epochs: 1}
head: {epochs: 1}
"""


def study(text=TINY, **changes):
    return replace(reading.parse(text, "the test"), **changes)


def run_quietly(chosen, out, **options):
    return run.run(chosen, out, Console(quiet=True), cpu=True, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    chosen = study(TINY.replace("imbalance: 20", "imbalance: 60"))
    return chosen, out, run_quietly(chosen, out)


# ---- plans and keys ---------------------------------------------------------------------------


def test_the_keys_of_cells_do_not_change():
    cells = list(reading.read_preset("unaugmented").cells())
    stem = cells[0].file_stem
    assert cells[0].name == "CIFAR-10 100:1/resnet14/ce/none/seed 0"
    assert stem == "cifar-10-100-1-resnet14-ce-none-seed-0-bd4d682673c8"
    assert len({cell.file_stem for cell in cells}) == len(cells)


def test_an_extended_study_keeps_its_cells():
    before = {cell.file_stem for cell in study().cells()}
    more = TINY.replace("[none, ", "[none, {smote: {k: 5}}, random, ").replace(
        "seeds: 2", "seeds: 3"
    )
    more = more.replace("[ce]", "[focal, ce]").replace("digits, ", "digits, tail: exponential, ")
    assert before < {cell.file_stem for cell in study(more).cells()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("imbalance: 20", "imbalance: 10"),
        ("width: 2", "width: 4"),
        ("[ce]", "[focal]"),
        ("epochs: 2", "epochs: 3"),
        ("head: {epochs: 1}", "head: {epochs: 2}"),
        ("head: {epochs: 1}", "head: {epochs: 1, loss: ce}"),
        ("[none, smote, eos, {eos: {k: 20}}]", "[{eos: {k: 21}}]"),
    ],
)
def test_what_decides_a_result_changes_the_key(old, new):
    assert old in TINY
    before = {cell.file_stem for cell in study().cells()}
    assert not before & {cell.file_stem for cell in study(TINY.replace(old, new)).cells()}


def test_a_jpeg_file_may_lie_anywhere_but_is_not_cifar10():
    chosen = reading.read_preset("unaugmented")
    stems = [
        next(chosen.with_sources({"cifar10": source}).cells()).file_stem
        for source in ("cifar10", "cifar10-jpeg:a.npz", "cifar10-jpeg:/b/c.npz")
    ]
    assert stems[1] == stems[2] != stems[0]
    moved = chosen.with_sources({"cifar10": "cifar10-jpeg:a.npz"})
    assert next(moved.networks()).data_name == "CIFAR-10 (JPEG) 100:1"
    with pytest.raises(ValueError, match="'mnist' is not in the study; it has cifar10"):
        chosen.with_sources({"mnist": "x"})


@pytest.mark.parametrize("name", reading.PRESETS)
def test_presets_have_a_reference_and_enough_seeds_to_tell(name):
    chosen = reading.read_preset(name)
    assert chosen.reference == "eos"
    assert len(chosen.seeds) >= (3 if name == "quick" else 5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[ce]", "[cross]", "unknown loss 'cross'; choose one of 'ce', 'focal"),
        ("smote, eos", "smoke, eos", "unknown method 'smoke'; choose one of random, smote"),
        ("k: 20", "K: 20", "method 'eos' has no parameter 'K'; it has enemies, k"),
        ("seeds: 2", "seeds: [a]", "seeds must be"),
        ("seeds: 2", "seeds: 0", "'seeds' is missing or empty"),
        ("epochs: 2", "epoch: 2", "unknown field 'epoch' of schedule"),
        ("resnet8", "resnet9", "depth must be 6 n"),
        ("title: Tiny", "titel: Tiny", "unknown field 'titel' of the study"),
        ("title: Tiny", "reference: random", "reference 'random' is not among the methods none"),
        ("title: Tiny", "title: [", "is no YAML"),
        (
            "augment: false",
            "tail: flat",
            "unknown tail 'flat'; choose one of 'exp",
        ),
        ("source: digits, ", "", "data needs a source"),
        ("name: resnet8, ", "", "a backbone needs a name"),
        ("{k: 20}}", "{k: 20}, smote: {}}", "a method is a name or {name: {parameter: value}}"),
        ("none, smote", "[none], smote", "a method is a name or {name: {parameter: value}}"),
        ("seeds: 2", "seeds: [0, -1]", "seeds must be"),
        ("head: {epochs: 1}", "head: {lose: ce}", "unknown field 'lose' of head"),
    ],
)
def test_a_mistake_in_a_study_is_named(old, new, message):
    assert old in TINY
    with pytest.raises(ValueError, match=re.escape(message)):
        study(TINY.replace(old, new, 1))


def test_the_reference_is_the_first_eos_or_else_the_last_method():
    assert study().reference == "eos"
    assert study(TINY.replace("smote, eos, {eos", "smote, {eos")).reference == "eos k=20"
    assert study(TINY.replace(", eos, {eos: {k: 20}}", "")).reference == "smote"
    assert study(TINY + "reference: smote").reference == "smote"


def test_the_head_is_trained_with_its_own_loss_or_that_of_phase_1():
    focal = TINY.replace("[ce]", "[focal]")
    given = focal.replace("head: {epochs: 1}", "head: {epochs: 3, loss: ce, lr: 0.5}")
    last = [list(study(text).cells())[-1] for text in (focal, given)]
    first, second = (measure.settings_of(cell, True) for cell in last)
    assert (first.loss, first.head_epochs, first.lr, first.seed) == ("focal", 1, 0.1, 1)
    assert (second.loss, second.head_epochs, second.lr) == ("ce", 3, 0.5)


def test_only_keeps_the_cells_of_a_pattern():
    kept = plan.selected(study().cells(), "/eos*/seed 1")
    assert [cell.method_name for cell in kept] == ["eos", "eos k=20"]
    with pytest.raises(ValueError, match="no cell fits only='gan'; a cell's name is like 'Digits"):
        plan.selected(study().cells(), "gan")


# ---- running ----------------------------------------------------------------------------------


def test_every_cell_is_scored_and_failures_are_kept(finished):
    chosen, out, outcome = finished
    assert outcome == (8, 2, 0)
    kept = Cells(out / run.CELLS)
    found = {cell.name: kept.read(cell) for cell in chosen.cells()}
    failed = found["Digits 60:1/resnet8 width=2/ce/smote/seed 0"]
    # The smallest class has fewer rows than SMOTE's neighbours.
    assert failed["status"] == "failed"
    assert failed["error"].startswith("ValueError: Expected n_neighbors")
    eos, none = (found[f"Digits 60:1/resnet8 width=2/ce/{m}/seed 0"] for m in ("eos", "none"))
    assert eos["scores"]["balanced_accuracy"] == pytest.approx(np.mean(eos["scores"]["recall"]))
    assert np.sum(eos["scores"]["confusion"]) == eos["test_rows"]
    assert eos["synthetic_rows"] + sum(eos["train_counts"]) == 10 * max(eos["train_counts"])
    assert np.mean(eos["gap"]) < np.mean(none["gap"])
    assert set(eos["seconds"]) == set(eos["cpu_seconds"]) == set(results.PHASES)
    assert eos["seconds"]["backbone"] == none["seconds"]["backbone"] > 0
    assert eos["environment"]["threads"] == 1
    assert eos["settings"]["head"]["epochs"] == 1


def test_phase_1_runs_once_and_leaves_its_head(finished):
    chosen, out, _ = finished
    assert len(list((out / run.NETWORKS).iterdir())) == 2
    network = next(chosen.networks())
    trained = networks.read(network, out / run.NETWORKS)
    head = networks.head_of(network, trained)
    logits = head(torch.as_tensor(trained.test_x)).argmax(dim=1).numpy()
    none = next(cell for cell in chosen.cells() if cell.method == "none")
    scores = Cells(out / run.CELLS).read(none)["scores"]
    right = [np.mean(logits[trained.test_y == c] == c) for c in range(10)]
    assert scores["recall"] == pytest.approx(right)


def test_a_cell_measured_again_is_the_same(finished):
    chosen, out, _ = finished
    cell = [cell for cell in chosen.cells() if cell.method == "eos"][1]
    trained = networks.read(cell.network, out / run.NETWORKS)
    again = measure.measure(cell, trained, cpu=True)
    assert again["scores"] == Cells(out / run.CELLS).read(cell)["scores"]


def test_a_head_is_changed_by_its_rule_or_trained_from_new_weights(finished):
    _, out, _ = finished
    text = TINY.replace("imbalance: 20", "imbalance: 60").replace("[none, smote", "[tau_norm, crt")
    still = study(text.replace("head: {epochs: 1}", "head: {epochs: 1, lr: 1.0e-30}"))
    before, heads = {}, {}
    for cell in still.cells():
        trained = networks.read(cell.network, out / run.NETWORKS)
        head, _, _ = measure.rebalanced(cell, trained, cpu=True)
        heads.setdefault(cell.method_name, head.weight.detach().numpy())
        before.setdefault(cell.method_name, trained.head["weight"])
    np.testing.assert_array_equal(heads["eos"], before["eos"])
    assert np.abs(heads["crt"] - before["crt"]).max() > 0.01
    np.testing.assert_allclose(np.linalg.norm(heads["tau_norm"], axis=1), 1.0, rtol=1e-5)


def test_finished_cells_are_not_run_again(finished, monkeypatch):
    chosen, out, outcome = finished
    monkeypatch.setattr(run, "measure", None)
    monkeypatch.setattr(run, "trained", None)
    assert run_quietly(chosen, out) == outcome


def test_no_time_left_says_what_is_left(tmp_path):
    assert run_quietly(study(), tmp_path, max_minutes=0) == (0, 0, 8)


def test_a_loss_that_diverges_fails_its_cells_alone(tmp_path):
    wild = study(TINY.replace("batch_size: 64", "batch_size: 64, lr: 1.0e+30"), seeds=[0])
    assert run_quietly(wild, tmp_path) == (4, 4, 0)
    cell = next(wild.cells())
    assert "the loss of the backbone is nan" in Cells(tmp_path / run.CELLS).read(cell)["error"]


def test_a_damaged_result_is_named(finished, tmp_path):
    chosen, out, _ = finished
    kept, cell = Cells(tmp_path), next(chosen.cells())
    text = (out / run.CELLS / f"{cell.file_stem}.json").read_text()
    kept.path(cell).write_text(text[:-20])
    with pytest.raises(
        ValueError, match=rf"{cell.file_stem}\.json' is damaged .*: delete it and r"
    ):
        kept.read(cell)


def test_two_runs_in_one_folder_do_not_collide(tmp_path):
    (tmp_path / ".lock").write_text("99999999")  # of a process that is long dead
    with held(tmp_path):
        with pytest.raises(BlockingIOError, match=f"being run by process {os.getpid()}: wait"):
            run_quietly(study(), tmp_path)
        assert not (tmp_path / run.CELLS).exists()


def test_killed_at_any_moment_no_cell_is_lost_or_repeated(tmp_path):
    out, file = tmp_path / "out", tmp_path / "study.yaml"
    file.write_text(TINY)
    arguments = ["bench", str(file), "--out", str(out), "--threads", "1", "--cpu"]
    program = f"from expansive.cli import main; raise SystemExit(main({arguments}))"
    command = [sys.executable, "-c", program]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def finished_cells():
        paths = (out / run.CELLS).glob("[!.]*.json")  # half-written files begin with a dot
        return {path.name: path.stat().st_mtime_ns for path in paths}

    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while len(finished_cells()) < 3 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = finished_cells()
    assert 3 <= len(before) < 8
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = finished_cells()
    assert before.items() <= after.items()
    assert set(after) == {f"{cell.file_stem}.json" for cell in study().cells()}
    assert len(list((out / run.CELLS).iterdir())) == len(after)  # what the kill left is gone
    assert len(list((out / run.NETWORKS).iterdir())) == 2
    assert (out / "report.html").is_file()


def test_a_killed_phase_1_goes_on_from_its_checkpoint(tmp_path):
    network = next(study().networks())

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        networks.trained(network, tmp_path / "a", True, stop)
    epochs = []
    resumed = networks.trained(
        network, tmp_path / "a", True, lambda record: epochs.append(record["epoch"])
    )
    assert epochs == [2]
    whole = networks.trained(network, tmp_path / "b", True, lambda record: None)
    np.testing.assert_array_equal(resumed.train_x, whole.train_x)
    assert resumed.facts["cpu_seconds"]["backbone"] > 0
    assert not (tmp_path / "a" / network.file_stem / "checkpoints").exists()


# ---- report -----------------------------------------------------------------------------------


def test_the_table_has_the_numbers_of_the_cells(finished):
    chosen, out, _ = finished
    kept = Cells(out / run.CELLS)
    cells = {cell.method_name: kept.read(cell) for cell in chosen.cells() if cell.network.seed == 0}
    table = results.frame(cells).set_index("cell")
    eos, none, failed = (table.loc[name] for name in ("eos k=20", "none", "smote"))
    of_eos = cells["eos k=20"]
    assert eos["macro_f1"] == of_eos["scores"]["macro_f1"]
    assert eos["mean_gap"] == pytest.approx(np.mean(of_eos["gap"]))
    assert eos["synthetic_rows"] == of_eos["synthetic_rows"] > none["synthetic_rows"] == 0
    after = sum(of_eos["seconds"][phase] for phase in ("embed", "expand", "head"))
    assert eos["seconds_after"] == pytest.approx(after)
    assert none["seconds_after"] == cells["none"]["seconds"]["head"]
    assert (eos["enemies"], eos["k"], eos["expansion"]) == ("nearest", 20, "0 to 1")
    assert failed["status"] == "failed"
    assert failed["error"] == cells["smote"]["error"]
    assert failed[["balanced_accuracy", "mean_gap", "seconds_after"]].isna().all()


def test_the_report_has_the_numbers_of_the_cells(finished, capsys):
    chosen, out, _ = finished
    Console(width=120).print(report.write(chosen, out))
    assert "Digits 60:1, resnet8 width=2, ce" in capsys.readouterr().out
    table = pd.read_parquet(out / "results.parquet")
    kept = Cells(out / run.CELLS)
    mine = [kept.read(cell)["scores"] for cell in chosen.cells() if cell.method_name == "eos k=20"]
    accuracies = 100 * np.array([scores["balanced_accuracy"] for scores in mine])
    expected = f"{accuracies.mean():.1f} ± {accuracies.std(ddof=1):.1f}"
    markdown = (out / "report.md").read_text()
    assert f"| eos nearest k=20 | {expected} |" in markdown
    row = report.accuracy_table(table[table["status"] == "done"]).set_index("method")
    assert row.loc["eos nearest k=20", "ce"] == expected
    assert "cannot go below p = 0.5" in markdown
    assert "The reference, eos nearest k=10: " in markdown
    assert "Friedman's test that all 3 methods rank alike: p = " in markdown
    eos = table[table["method"] == "eos nearest k=10"]
    epochs = 2 * (eos["seconds_after"].sum() / eos["seconds_backbone"].sum())
    assert f"| {epochs:.2f} | {50 * epochs:.1f} |" in markdown
    assert "2 of these failed" in markdown
    page = (out / "report.html").read_text()
    assert "http" not in page
    pictures = re.findall(r"\((\S+\.png)\)", markdown)
    assert len(pictures) == page.count("data:image/png;base64,") == 5
    assert all((out / name).read_bytes()[:4] == b"\x89PNG" for name in pictures)
    text = pd.read_csv(out / "results.csv")
    assert list(text["method"]) == list(table["method"])
    assert json.loads(json.dumps(text["balanced_accuracy"].dropna().tolist()))


def test_the_report_is_written_again_from_its_table_alone(finished, tmp_path):
    chosen, out, _ = finished
    report.write(chosen, out)
    projection = next(out.glob("*-projection.png")).name
    for name in ("results.parquet", projection):
        shutil.copy(out / name, tmp_path)
    report.write(chosen, tmp_path)
    for name in ("report.md", "report.html", "results.csv", projection):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name
    assert not (tmp_path / run.CELLS).exists()
    with pytest.raises(ValueError, match="no cell of the study has scores"):
        report.write(study(), tmp_path)  # the table of another study is not this one's


def test_the_smallest_class_is_drawn_with_the_classes_of_the_rows_nearest_to_it():
    y = np.repeat(np.arange(6), [6, 6, 6, 6, 6, 3])
    x = np.random.default_rng(0).normal(size=(len(y), 3)).astype(np.float32)
    x[:, 0] += np.array([100, 200, 300, 400, 500, 0])[y]
    x[24, 0] = 10  # one row of class 4, whose mean is the farthest
    kept = networks.Trained(x, y, x, y, {}, {"classes": [f"kind {c}" for c in range(6)]})
    cell = next(cell for cell in study().cells() if cell.method == "eos")
    figure = pictures.projections(kept, [cell])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:3] == [f"kind {c}, training" for c in (4, 0, 1)]


def test_columns_of_numbers_alone_stand_to_the_right():
    texts = pd.DataFrame({"method": ["a"], "p": ["< 0.0001"], "d": ["+1.0 ± 2"], "of": ["3 <b>"]})
    assert blocks._numbers(texts.assign(none="")) == [False, True, True, True, True]
    assert "<td>a</td>" in blocks._html(blocks.TextTable(texts))
    assert '<td class="number">3 &lt;b&gt;</td>' in blocks._html(blocks.TextTable(texts))


def test_accuracies_stay_with_their_method_and_loss():
    rows = pd.DataFrame(
        [
            {"method": method, "loss": loss, "balanced_accuracy": value}
            for loss, values in (("z", (0.5, 0.2, 0.9)), ("a", (0.1, 0.3, 0.4)))
            for method, value in zip(("none", "eos", "crt"), values, strict=True)
        ]
    )
    table = report.accuracy_table(rows).set_index("method")
    assert table["z"].to_dict() == {"none": "50.0", "eos": "20.0", "crt": "90.0"}
    assert table["a"].to_dict() == {"none": "10.0", "eos": "30.0", "crt": "40.0"}


def test_the_command_asks_for_one_study(capsys, tmp_path):
    assert cli.main(["bench", "--out", str(tmp_path)]) == 2
    assert "give either the YAML file of a study or --preset" in capsys.readouterr().err
    assert cli.main(["bench", "--preset", "losses", "--report-only", "--out", str(tmp_path)]) == 2
    assert "no cell of the study has scores" in capsys.readouterr().err
