"""The losses: hand-computed values, limits, gradients, half precision, epochs and phases."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from expansive.train.losses import (
    LDAM,
    LOSSES,
    Asymmetric,
    ClassBalanced,
    DeferredLDAM,
    Focal,
    LogitAdjustment,
    Loss,
    make_loss,
)
from expansive.train.losses.counted import effective_weights
from training import COUNTS, blobs, network, trainer

pytestmark = pytest.mark.train

LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)
# Probabilities (1/4, 3/4) and (1/2, 1/2): the true classes have 1/4 and 1/2.
LOGITS = torch.tensor([[0.0, LN3], [0.0, 0.0]])
LABELS = torch.tensor([0, 1])
TWO = torch.tensor([10_000, 1])


def value(loss: str | Loss, counts: Tensor = TWO, rows: slice = slice(None)) -> float:
    return float(make_loss(loss, counts)(LOGITS[rows], LABELS[rows]))


def some_rows(n_classes: int = 4, rows: int = 6, **kind: Any) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(rows, n_classes, generator=generator, **kind)
    return logits, torch.arange(rows) % n_classes


# Values worked out by hand ----------------------------------------------------------------------


def test_cross_entropy() -> None:
    assert value("ce") == pytest.approx((LN4 + LN2) / 2)


def test_focal() -> None:
    # (3/4)^2 ln 4 and (1/2)^2 ln 2; with gamma 1: 3/4 ln 4 and 1/2 ln 2.
    assert value("focal") == pytest.approx((0.5625 * LN4 + 0.25 * LN2) / 2)
    assert value(Focal(gamma=1)) == pytest.approx((0.75 * LN4 + 0.5 * LN2) / 2)


def test_asymmetric() -> None:
    # Smoothed by 0.1, the true class has 0.95 and the other 0.05. Row 0: the other has 3/4, its
    # weight (3/4)^4 = 81/256, its loss ln 4/3. Row 1: 1/2, (1/2)^4 = 1/16, ln 2.
    first = 0.95 * LN4 + 0.05 * 81 / 256 * (LN4 - LN3)
    second = 0.95 * LN2 + 0.05 / 16 * LN2
    assert value("asl") == pytest.approx((first + second) / 2)
    # gamma_pos = 1 weighs the true class of row 0 by 3/4.
    row = 0.95 * 0.75 * LN4 + 0.05 * 0.75 * (LN4 - LN3)
    assert value(Asymmetric(gamma_pos=1, gamma_neg=1), rows=slice(0, 1)) == pytest.approx(row)


def test_class_balanced() -> None:
    # beta = 0.5: effective numbers of 1 and 3 rows are 1 and 1 + 1/2 + 1/4 = 7/4, so the weights
    # are as 7 to 4.
    counts = torch.tensor([1, 3])
    expected = (7 * LN4 + 4 * LN2) / 11
    assert value(ClassBalanced(beta=0.5), counts) == pytest.approx(expected)
    focal = (7 * 0.5625 * LN4 + 4 * 0.25 * LN2) / 11
    assert value(ClassBalanced(beta=0.5, gamma=2), counts) == pytest.approx(focal)


def test_class_balanced_divides_by_the_weights_of_the_batch() -> None:
    loss = make_loss(ClassBalanced(beta=0.5), torch.tensor([1, 3]))
    found = loss(LOGITS[[0, 1, 1]], LABELS[[0, 1, 1]])
    assert float(found) == pytest.approx((7 * LN4 + 8 * LN2) / 15)


def test_effective_weights_sum_to_the_number_of_classes() -> None:
    found = effective_weights(torch.tensor([1.0, 3.0]), beta=0.5)
    assert found.tolist() == pytest.approx([14 / 11, 8 / 11])


def test_class_balanced_by_name_has_the_published_beta() -> None:
    # 1 - 0.9999^10000 = 0.632139, of which 0.0001 is a weight of 1.581931e-4 against one of 1.
    small = 1.581931e-4
    assert value("cb") == pytest.approx((small * LN4 + LN2) / (1 + small), rel=1e-5)
    focal = (small * 0.5625 * LN4 + 0.25 * LN2) / (1 + small)
    assert value("cb_focal") == pytest.approx(focal, rel=1e-5)


@pytest.mark.parametrize("name", ["logit_adjustment", "balanced_softmax"])
def test_logit_adjustment_is_balanced_softmax(name: str) -> None:
    # Three rows to one: row 0 has odds 3 x 1 to 1 x 3, row 1 has 3 to 1 against its class 1.
    assert value(name, torch.tensor([3, 1])) == pytest.approx((LN2 + LN4) / 2)
    # Sixteen to one with tau 1/2 is four to one: 4 to 3, and 4 to 1.
    half = value(LogitAdjustment(tau=0.5), torch.tensor([16, 1]))
    assert half == pytest.approx((math.log(7 / 4) + math.log(5)) / 2)


def test_ldam() -> None:
    # 10000^(1/4) = 10: margins 0.05 and 0.5. With scale 30 the true class of row 0 is behind by
    # 30 (ln 3 + 0.05), that of row 1 by 15.
    behind = [30 * (LN3 + 0.05), 15.0]
    expected = sum(math.log1p(math.exp(b)) for b in behind) / 2
    assert value("ldam") == pytest.approx(expected, rel=1e-6)
    behind = [2 * (LN3 + 0.1), 2.0]
    expected = sum(math.log1p(math.exp(b)) for b in behind) / 2
    assert value(LDAM(max_margin=1, scale=2), TWO) == pytest.approx(expected, rel=1e-6)


def test_ldam_drw_weighs_rows_after_four_fifths_of_the_epochs() -> None:
    loss: Any = make_loss(DeferredLDAM(max_margin=0, scale=1, beta=0.5), torch.tensor([1, 3]))
    plain, weighted = (LN4 + LN2) / 2, (7 * LN4 + 4 * LN2) / 11
    for epoch, expected in [(0, plain), (159, plain), (160, weighted), (199, weighted), (3, plain)]:
        loss.begin_epoch(epoch, 200)
        assert float(loss(LOGITS, LABELS)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("share", "epochs", "first"), [(0.8, 14, 12), (0.07, 100, 7), (0, 5, 0), (1, 5, None)]
)
def test_the_epoch_from_which_weights_are_used(
    share: float, epochs: int, first: int | None
) -> None:
    loss: Any = make_loss(DeferredLDAM(share=share, scale=1), TWO)
    plain = value(LDAM(scale=1))
    found = []
    for epoch in range(epochs):
        loss.begin_epoch(epoch, epochs)
        found.append(float(loss(LOGITS, LABELS)) != pytest.approx(plain, rel=1e-3))
    assert found == [first is not None and epoch >= first for epoch in range(epochs)]


# Limits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        Focal(gamma=0),
        Asymmetric(smoothing=0),
        ClassBalanced(beta=0),
        LogitAdjustment(tau=0),
        LDAM(max_margin=0, scale=1),
    ],
    ids=repr,
)
def test_a_loss_whose_parameter_is_zero_is_cross_entropy(loss: Loss) -> None:
    logits, labels = some_rows()
    found = make_loss(loss, torch.tensor([100, 10, 3, 1]))(logits, labels)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels))


@pytest.mark.parametrize("name", ["cb", "logit_adjustment", "balanced_softmax"])
def test_equal_class_sizes_give_cross_entropy(name: str) -> None:
    logits, labels = some_rows()
    found = make_loss(name, torch.full((4,), 50))(logits, labels)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels))


def test_equal_class_sizes_give_one_margin_and_no_weights() -> None:
    logits, labels = some_rows()
    loss: Any = make_loss("ldam_drw", torch.full((4,), 50))
    loss.begin_epoch(9, 10)
    lowered = 30 * logits
    lowered[torch.arange(len(labels)), labels] -= 15
    torch.testing.assert_close(loss(logits, labels), F.cross_entropy(lowered, labels))
    focal = make_loss("focal", TWO)(logits, labels)
    torch.testing.assert_close(make_loss("cb_focal", torch.full((4,), 50))(logits, labels), focal)


# Arithmetic -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str) -> None:
    logits, labels = some_rows(dtype=torch.float64)
    logits = (0.1 * logits).requires_grad_()
    loss: Any = make_loss(name, torch.tensor([50, 20, 5, 1]))
    if name == "ldam_drw":
        loss.begin_epoch(9, 10)
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), (logits,))


@pytest.mark.parametrize("loss", [*LOSSES, Focal(gamma=0.5), Asymmetric(gamma_pos=0.5)], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_under_autocast_give_the_bits_of_float32(
    loss: str | Loss, dtype: torch.dtype
) -> None:
    logits, labels = some_rows(rows=64)
    logits = (20 * logits).to(dtype)
    made = make_loss(loss, torch.tensor([50, 20, 5, 1]))
    with torch.autocast("cpu", torch.bfloat16):
        found = made(logits.requires_grad_(), labels)
    found.backward()
    assert found.dtype == torch.float32
    assert torch.equal(found, made(logits.detach().float(), labels))
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", [Focal(gamma=0.5), Asymmetric(gamma_pos=0.5, gamma_neg=0.5)])
def test_certain_rows_have_finite_gradients(loss: Loss) -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    loss(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


# In the trainer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains_both_phases(name: str) -> None:
    records: list[dict[str, Any]] = []
    fitted = trainer(loss=name, on_epoch=records.append, epochs=12, lr=0.02).fit(blobs())
    assert len(records) == 16
    assert fitted.evaluate(blobs(seed=1)).after.balanced_accuracy > 0.6


class Recording:
    """A cross-entropy that writes down what the trainer tells it."""

    def __init__(self) -> None:
        self.counts: list[list[int]] = []
        self.epochs: list[tuple[int, int]] = []

    def with_counts(self, counts: Tensor) -> Loss:
        self.counts.append(counts.tolist())
        return self

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self.epochs.append((epoch, epochs))

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)


def test_a_loss_is_made_from_the_class_sizes_of_its_phase() -> None:
    loss = Recording()
    trainer(loss=loss, epochs=3, head_epochs=2, val_fraction=0, select="last").fit(blobs())
    assert loss.counts == [list(COUNTS), [COUNTS[0]] * 3]
    assert loss.epochs == [(0, 3), (1, 3), (2, 3), (0, 2), (1, 2)]


def test_the_head_may_have_a_loss_of_its_own() -> None:
    loss, head_loss = Recording(), Recording()
    trainer(loss=loss, head_loss=head_loss, epochs=3, head_epochs=2).fit(blobs())
    assert loss.epochs == [(0, 3), (1, 3), (2, 3)]
    assert head_loss.epochs == [(0, 2), (1, 2)]
    assert trainer(head_loss="focal").fit(blobs()).plan is not None


class Stop(Exception):
    pass


@pytest.mark.parametrize("stopped", [1, 3])
def test_deferred_weights_survive_a_resume(tmp_path: Any, stopped: int) -> None:
    settings = {"loss": DeferredLDAM(share=0.5, scale=3), "lr": 0.02, "select": "last"}

    def stop(record: dict[str, Any]) -> None:
        if record["epoch"] == stopped:
            raise Stop

    whole = trainer(**settings).fit(blobs())
    with pytest.raises(Stop):
        trainer(checkpoint_dir=tmp_path, on_epoch=stop, **settings).fit(blobs())
    resumed = trainer(network(seed=9), checkpoint_dir=tmp_path, **settings)
    resumed.fit(blobs(), resume=True)
    expected = whole.model.state_dict()
    assert all(torch.equal(w, expected[name]) for name, w in resumed.model.state_dict().items())


def test_the_parameters_of_a_loss_belong_to_the_run() -> None:
    assert trainer(loss=Focal(gamma=1)).record()["loss"] == "Focal(gamma=1)"
    assert trainer(head_loss=ClassBalanced()).record()["head_loss"] == (
        "ClassBalanced(beta=0.9999, gamma=0.0)"
    )
    assert trainer(loss="ldam").record() | {"loss": 0} == trainer().record() | {"loss": 0}


# Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Focal, {"gamma": -1}, "gamma must be at least 0, not -1"),
        (Asymmetric, {"gamma_pos": -1}, "gamma_pos must be at least 0"),
        (Asymmetric, {"gamma_neg": math.nan}, "gamma_neg must be at least 0, not nan"),
        (Asymmetric, {"smoothing": 1}, r"smoothing must be in \[0, 1\), not 1"),
        (ClassBalanced, {"beta": 1}, r"beta must be in \[0, 1\)"),
        (ClassBalanced, {"gamma": -1}, "gamma must be at least 0"),
        (LogitAdjustment, {"tau": math.inf}, "tau must be finite and at least 0"),
        (LDAM, {"max_margin": -1}, "max_margin must be at least 0"),
        (LDAM, {"scale": 0}, "scale must be above 0, not 0"),
        (DeferredLDAM, {"scale": 0}, "scale must be above 0"),
        (DeferredLDAM, {"share": 1.5}, r"share must be in \[0, 1\]"),
        (DeferredLDAM, {"beta": 1}, r"beta must be in \[0, 1\)"),
    ],
)
def test_bad_parameters_are_refused(kind: Any, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


@pytest.mark.parametrize("name", ["loss", "head_loss"])
def test_unknown_losses_and_classes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown {name} 'hinge'; choose one of .*'ldam_drw'"):
        trainer(**{name: "hinge"})
    with pytest.raises(TypeError, match=rf"{name} must be an instance, such as Focal\(\)"):
        trainer(**{name: Focal})


def test_a_loss_without_class_sizes_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"LDAM\(.*\) needs the rows per class: call with_coun"):
        LDAM()(LOGITS, LABELS)
    with pytest.raises(ValueError, match="unknown loss 'hinge'"):
        make_loss("hinge", TWO)
