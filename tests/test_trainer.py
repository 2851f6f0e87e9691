"""Three-phase training on small data: what it improves, what it leaves alone, what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from expansive import SynthesisPlan, metrics
from expansive.train import rebalance_head
from expansive.train.checkpoint import Progress
from expansive.train.data import labels_of
from expansive.train.embedding import CHECKED_ROWS, embed
from expansive.train.head import Expanded
from expansive.train.loop import Phase, State, train
from expansive.train.settings import Settings
from training import COUNTS, blobs, differing, network, states, trainer, training_modes

pytestmark = pytest.mark.train


# What it does ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset[Any], Dataset[Any]]:
    """Long-tailed scikit-learn digits (100 to 3 rows per class) and a balanced test set."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    rows = torch.tensor(x / 16, dtype=torch.float32)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:1200], order[1200:]
    tail = [train[y[train] == c][: round(100 * 0.03 ** (c / 9))] for c in range(10)]
    kept = np.concatenate(tail)
    pairs = [TensorDataset(rows[part], torch.tensor(y[part])) for part in (kept, test)]
    return pairs[0], pairs[1]


def test_eos_raises_balanced_accuracy_and_narrows_the_gap_on_digits(
    digits: tuple[Dataset[Any], Dataset[Any]],
) -> None:
    train, test = digits
    quick = {"epochs": 20, "head_epochs": 10, "batch_size": 64, "k": 10}
    fitted = trainer(
        network(10, inputs=64), select="last", val_fraction=0.0, warmup_epochs=5, **quick
    ).fit(train)
    found = fitted.evaluate(test)
    assert found.after.balanced_accuracy > found.before.balanced_accuracy + 0.02
    assert found.gap_after.mean() < 0.7 * found.gap_before.mean()
    assert found.after.few > found.before.few
    assert found.before.balanced_accuracy > 0.5
    predicted = fitted.predict(test)
    truth = labels_of(test, "test")
    assert metrics.balanced_accuracy(truth, predicted) == found.after.balanced_accuracy
    json.dumps(found.settings)


@pytest.mark.parametrize(
    "method", ["eos", "smote", "random", lambda x, y: SynthesisPlan.eos(x, y, k=2, seed=3)]
)
def test_every_method_balances_the_classes(method: Any) -> None:
    fitted = trainer(method=method).fit(blobs())
    expanded = Expanded(fitted.embeddings, fitted.plan)
    assert len(set(torch.bincount(expanded.labels).tolist())) == 1
    found = fitted.evaluate(blobs((20, 20, 20), seed=1))
    assert found.classes == ["0", "1", "2"]
    assert found.train_counts.tolist() == [32, 16, 5]
    assert set(found.seconds) == {"backbone", "expand", "head"}
    assert not np.array_equal(found.head_norms_before, found.head_norms_after)
    if method != "eos":
        return
    assert (found.gap_after <= found.gap_before).all()
    assert found.gap_after.sum() < found.gap_before.sum()


def test_gaps_equal_those_of_materialised_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = trainer().fit(blobs())
    monkeypatch.setattr("expansive.train.expand.SLICE_ROWS", 7)
    test = blobs((20, 20, 20), seed=1)
    found = fitted.evaluate(test)
    x, y = fitted.embeddings
    test_x, test_y = embed(fitted.model, fitted.head, test, fitted.accelerator())
    before = metrics.generalization_gap(x, y, test_x, test_y)
    np.testing.assert_array_equal(found.gap_before, before)
    assert fitted.plan.n_samples > 2 * 7
    both_x = np.concatenate([x.numpy(), fitted.plan.generate(x, 0, fitted.plan.n_samples).numpy()])
    both_y = np.concatenate([y.numpy(), fitted.plan.labels()])
    after = metrics.generalization_gap(both_x, both_y, test_x, test_y)
    np.testing.assert_array_equal(found.gap_after, after)


def test_the_sample_holds_rows_of_each_kind() -> None:
    fitted = trainer().fit(blobs())
    sample = fitted.evaluate(blobs((500, 20, 20), seed=1)).sample
    assert sample.train_x.shape == (32 + 16 + 5, 16)
    assert np.bincount(sample.test_y).tolist() == [100, 20, 20]
    made = fitted.plan.generate(fitted.embeddings.x, 0, fitted.plan.n_samples).numpy()
    np.testing.assert_array_equal(sample.synthetic_x, made)
    np.testing.assert_array_equal(sample.synthetic_y, fitted.plan.labels())


def test_embeddings_are_what_enters_the_head_in_evaluation_mode() -> None:
    model, rows = network(), blobs()
    found = embed(model, "classifier.1", rows, trainer().accelerator(), batch_size=7)
    model.eval()
    # Batches of other sizes may be summed in another order.
    torch.testing.assert_close(found.x, model.body(rows.tensors[0]))
    assert torch.equal(found.y, rows.tensors[1])


def test_expanded_rows_are_the_real_then_the_planned_ones() -> None:
    fitted = trainer()
    plan = fitted.expand(blobs())
    x, y = fitted.embeddings
    rows = Expanded(fitted.embeddings, plan)
    made = plan.generate(x, 0, plan.n_samples)
    order = np.random.default_rng(0).permutation(len(rows))
    got_x, got_y = rows.__getitems__(order.tolist())
    assert torch.equal(got_x, torch.cat([x, made])[order])
    assert torch.equal(got_y, torch.cat([y, torch.tensor(plan.labels())])[order])


# What it leaves alone -------------------------------------------------------------------------


def test_phase_three_changes_no_bit_outside_the_head() -> None:
    fitted = trainer()
    fitted.fit_backbone(blobs())
    fitted.expand(blobs())
    before = states(fitted.model)
    fitted.fit_head()
    assert "body.1.running_mean" in before
    assert differing(fitted.model, before) == {"classifier.1.weight", "classifier.1.bias"}


def test_rebalance_head_trains_the_head_of_a_trained_network_alone() -> None:
    model = network()
    trainer(model).fit_backbone(blobs())
    before = states(model)
    settings = {"head_epochs": 3, "k": 3, "progress": False, "cpu": True}
    assert rebalance_head(model, "classifier.1", data=blobs(), **settings) is model
    assert differing(model, before) == {"classifier.1.weight", "classifier.1.bias"}


def test_rebalance_head_selects_on_a_given_validation_set() -> None:
    lines: list[dict[str, Any]] = []
    settings = {"head_epochs": 3, "k": 3, "progress": False, "cpu": True}
    rebalance_head(
        network(),
        "classifier.1",
        data=blobs(),
        val_set=blobs(seed=4),
        on_epoch=lines.append,
        **settings,
    )
    assert all("val_balanced_accuracy" in line for line in lines)


def test_a_frozen_body_in_evaluation_mode_stays_as_it_is() -> None:
    model = network()
    model.body.requires_grad_(False).eval()
    before, modes = states(model), [part.training for part in model.modules()]
    seen = training_modes(model.body)
    trainer(model).fit(blobs())
    assert differing(model, before) == {"classifier.1.weight", "classifier.1.bias"}
    assert [part.training for part in model.modules()] == modes
    assert seen == {("Linear", False), ("BatchNorm1d", False), ("ReLU", False), ("Dropout", False)}


@pytest.mark.parametrize("frozen", [True, False])
def test_only_frozen_parts_are_trained_in_evaluation_mode(frozen: bool) -> None:
    model = network().eval()
    model.body[1].requires_grad_(not frozen)
    seen = training_modes(model.body)
    trainer(model).fit_backbone(blobs())
    trained = {("Linear", True), ("ReLU", True), ("Dropout", True)}
    assert seen == trained | {("BatchNorm1d", not frozen)}


def test_a_forward_of_the_model_itself_is_kept() -> None:
    model = network()
    own = MethodType(lambda self, x: self.classifier(self.body(x)), model)
    model.forward = own
    trainer(model).fit(blobs())
    assert vars(model)["forward"] is own


def fail(*arguments: Any) -> Any:
    raise RuntimeError("stop here")


def fail_on_a_batch(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.sum() if len(labels) <= CHECKED_ROWS else fail()


class FailsInEvaluation(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if self.training else fail()


@pytest.mark.parametrize("stage", ["loss", "embedding", "callback", "validation"])
def test_modes_and_hooks_are_restored_after_an_error(stage: str) -> None:
    model = network()
    model.body[1].eval()
    modes = [part.training for part in model.modules()]
    settings: dict[str, Any] = {
        "loss": {"loss": fail_on_a_batch},
        "callback": {"on_epoch": fail},
    }.get(stage, {})
    if stage in ("embedding", "validation"):
        model.body[3] = FailsInEvaluation()
    fitted = trainer(model, **settings)
    run = fitted.expand if stage == "embedding" else fitted.fit
    with pytest.raises(RuntimeError, match="stop here"):
        run(blobs())
    assert [part.training for part in model.modules()] == modes
    assert not any(part._forward_pre_hooks for part in model.modules())
    assert "forward" not in vars(model)


def test_global_generators_are_as_before() -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    expected = torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
    model = network()
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    trainer(model).fit(blobs())
    assert (torch.rand(1), np.random.rand(), random.random()) == expected  # noqa: NPY002


# Settings -------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    first, same, other = (states(trainer(seed=s).fit(blobs()).model) for s in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_best_epoch_is_kept() -> None:
    # The last epochs ruin the network, so that the best and the last epoch differ.
    def ruin(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=30.0)

    lines: list[dict[str, Any]] = []
    fitted = trainer(optimizer=ruin, epochs=6, schedule="constant", on_epoch=lines.append)
    fitted.fit_backbone(blobs(), blobs(seed=3))
    validated = [line["val_balanced_accuracy"] for line in lines]
    assert max(validated) > min(validated)
    fitted.expand(blobs(), blobs(seed=3))
    truth, predicted = blobs(seed=3).tensors[1], fitted.predict(blobs(seed=3))
    assert metrics.balanced_accuracy(truth, predicted) == max(validated)


def test_reinit_head_begins_phase_three_anew() -> None:
    still = {"lr": 1e-30, "select": "last"}
    kept, drawn = network(), network()
    start = states(kept)
    trainer(kept, **still).fit(blobs())
    trainer(drawn, reinit_head=True, **still).fit(blobs())
    torch.testing.assert_close(kept.classifier[1].weight, start["classifier.1.weight"])
    assert (drawn.classifier[1].weight - start["classifier.1.weight"]).abs().max() > 0.01


def test_a_callable_loss_and_an_output_with_logits_work() -> None:
    @dataclasses.dataclass
    class Output:
        logits: Tensor

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> Output:
            return Output(self.inner(x))

    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    fitted = trainer(Wrapped(), loss=smooth, head="inner.classifier.1").fit(blobs())
    assert fitted.evaluate(blobs(seed=1)).after.balanced_accuracy > 0.4


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_labels_of_any_whole_number_type_give_the_same_network(dtype: torch.dtype) -> None:
    x, y = blobs().tensors
    found, expected = trainer().fit(TensorDataset(x, y.to(dtype))), trainer().fit(blobs())
    assert differing(found.model, states(expected.model)) == set()


def test_an_optimizer_is_made_where_the_parameters_are_trained() -> None:
    order: list[str] = []

    class Moved(nn.Linear):
        def to(self, *arguments: Any, **options: Any) -> Any:
            order.append("moved")
            return super().to(*arguments, **options)

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        order.append("made")
        return torch.optim.Adagrad(parameters)

    phase = Phase("head", Moved(6, 3), blobs(), None, np.array(COUNTS), "ce", 1)
    settings = Settings(optimizer=make, select="last", cpu=True, progress=False)
    train(phase, settings, State(Progress("head")), lambda record: None)
    assert order[:2] == ["moved", "made"]


# Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["some", {9: 60}, {0: 1}])
def test_a_strategy_is_refused_before_the_backbone_is_trained(strategy: Any) -> None:
    fitted = trainer(sampling_strategy=strategy)
    with pytest.raises(ValueError):
        fitted.fit(blobs())
    assert fitted.seconds == {}


@pytest.mark.parametrize(
    ("layers", "head", "message"),
    [
        ([nn.Unflatten(1, (1, 6)), nn.Flatten(), nn.Linear(6, 3)], "1", r"\[batch, d\], not \["),
        ([nn.Linear(6, 4)], "0", r"logits of shape \[batch, 3\], one per class, not \[\d+, 4\]"),
        ([nn.ModuleDict({"unused": nn.Linear(6, 3)}), nn.Linear(6, 3)], "0.unused", "did not call"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(
    layers: list[nn.Module], head: str, message: str
) -> None:
    class Chain(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            for layer in self:
                x = x if isinstance(layer, nn.ModuleDict) else layer(x)
            return x

    with pytest.raises(ValueError, match=message):
        trainer(Chain(*layers), head=head).fit(blobs())


def test_a_frozen_head_is_refused() -> None:
    model = network()
    model.classifier.requires_grad_(False)
    with pytest.raises(ValueError, match="head has no parameter with requires_grad=True"):
        rebalance_head(model, "classifier.1", data=blobs(), progress=False, cpu=True, k=3)


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    message = "loss of the backbone is nan in epoch 1: lower lr .* or look for NaN in the rows"
    with pytest.raises(FloatingPointError, match=message):
        trainer(loss=lambda logits, labels: logits.sum() * torch.nan).fit(blobs())


def test_phases_out_of_order_are_refused() -> None:
    fitted = trainer()
    for call in (fitted.fit_head, lambda: fitted.evaluate(blobs())):
        with pytest.raises(RuntimeError, match="call fit or expand first"):
            call()
    fitted.expand(blobs())
    with pytest.raises(RuntimeError, match="call fit_head first"):
        fitted.evaluate(blobs())


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    script = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(tmp_path / "log.jsonl")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"rank-{r}.json").read_text()) for r in (0, 1))
    assert first == second
    assert first["processes"] == 2
    assert first["in_order"]
    assert np.sum(first["confusion"]) == 61, "rows that pad the last batch are not counted"
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 8
