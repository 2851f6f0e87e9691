"""Losses and methods of the caller's own: what is refused, and what trying them leaves alone."""

from __future__ import annotations

import copy
import threading
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from expansive.train.losses.trial import try_loss
from training import blobs, differing, network, states, trainer

pytestmark = pytest.mark.train

LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "other shapes": (nn.MSELoss(), "raised RuntimeError: The size of tensor a"),
    "a number per row": (nn.CrossEntropyLoss(reduction="none"), r"not Tensor of shape \[4\]"),
    "of one element": (lambda z, y: z.sum()[None], r"not Tensor of shape \[1\]"),
    "nothing": (lambda z, y: None, "not NoneType"),
    "a float": (lambda z, y: z.sum().item(), "not float"),
    "other arguments": (lambda z: z.sum(), "raised TypeError: .* positional argument"),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(("loss", "message"), LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("name", ["loss", "head_loss"])
def test_a_loss_that_gives_no_scalar_is_refused_before_any_work(
    loss: Callable[[Tensor, Tensor], Any], message: str, name: str
) -> None:
    model = network()
    before = states(model)
    wanted = rf"{name} must give a scalar tensor for \(logits \[n, 3\], int64 labels \[n\]\)"
    fitted = trainer(model, **{name: loss})
    with pytest.raises(ValueError, match=rf"^{wanted}, (and )?{message}"):
        fitted.fit(blobs())
    assert fitted.seconds == {}
    assert differing(model, before) == set()


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_as_many_rows_as_classes_do_not_let_another_loss_pass() -> None:
    with pytest.raises(ValueError, match="loss must give a scalar tensor"):
        trainer(network(4), loss=nn.MSELoss()).fit(blobs((40, 20, 6, 5)))


class Stateful(nn.Module):
    """A cross-entropy that counts its calls, draws random numbers and looks at its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.seen: list[int] = []

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(len(labels))
        loss = F.cross_entropy(logits + torch.rand(()), labels)
        (slope,) = torch.autograd.grad(loss, logits, create_graph=True)
        return loss + slope.square().sum()


def test_trying_a_loss_changes_neither_it_nor_a_generator() -> None:
    loss = Stateful()
    fitted = trainer(loss=loss)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fitted.expand(blobs())
    assert torch.equal(torch.rand(1), expected)
    assert (loss.calls, loss.seen) == (0, [])
    fitted.fit_head()
    assert loss.calls > 0


def test_a_loss_that_cannot_be_copied_is_not_tried() -> None:
    class Locked:
        def __init__(self) -> None:
            self.lock, self.calls = threading.Lock(), 0

        def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
            self.calls += 1
            return F.cross_entropy(logits, labels)

    loss = Locked()
    with pytest.raises(TypeError):
        copy.deepcopy(loss)
    try_loss(loss, "loss", torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64), torch.ones(3))
    assert loss.calls == 0
    trainer(loss=loss).fit_backbone(blobs())


@pytest.mark.usefixtures("_own_accelerator_state")
def test_a_loss_with_weights_is_tried_on_logits_as_training_gives_them() -> None:
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    trainer(loss=weighted, mixed_precision="bf16").fit(blobs())


@pytest.mark.parametrize(
    "given", [(1, 2), None, types.SimpleNamespace(n_samples=3, labels=lambda start, stop: [])]
)
def test_a_method_that_gives_no_plan_is_refused(given: Any) -> None:
    rows: Dataset[Any] = blobs()
    message = rf"method must give a SynthesisPlan, or an object .* not {type(given).__name__}"
    with pytest.raises(TypeError, match=message):
        trainer(method=lambda x, y: given).expand(rows)
