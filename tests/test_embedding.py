"""What is taken as the embedding, and which heads are refused before any work."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from expansive.metrics import balanced_accuracy
from expansive.train import ThreePhaseTrainer, rebalance_head
from expansive.train.data import loader
from expansive.train.embedding import check_head, embed
from training import blobs, differing, network, states, trainer

pytestmark = pytest.mark.train


class Net(nn.Module):
    """A body of five features, a head, and what follows the head."""

    def __init__(
        self,
        head: nn.Module | None = None,
        call: Callable[[nn.Module, Tensor], Tensor] = lambda head, x: head(x),
        after: Callable[[Tensor], Any] = lambda logits: logits,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
        self.narrow = nn.Linear(5, 3)
        self.widen = nn.Linear(3, 5)
        self.pool = nn.Flatten()
        self.unused = nn.Linear(5, 3)
        self.fc = nn.Linear(5, 3) if head is None else head
        self.call, self.after = call, after

    def forward(self, x: Tensor) -> Any:
        x = self.pool(self.widen(self.narrow(self.body(x)).tanh())[:, :, None])
        return self.after(self.call(self.fc, x))

    def embedding(self, x: Tensor) -> Tensor:
        self.eval()
        return self.widen(self.narrow(self.body(x)).tanh())


def embedding_of(model: nn.Module, head: str = "fc") -> Tensor:
    return embed(model, head, blobs(), trainer().accelerator()).x


# What is taken --------------------------------------------------------------------------------


def test_a_head_that_overwrites_its_input_changes_no_embedding() -> None:
    model = Net(nn.Sequential(nn.LeakyReLU(0.2, inplace=True), nn.Linear(5, 3)))
    assert torch.equal(embedding_of(model), model.embedding(blobs().tensors[0]))
    fitted = trainer(model, head="fc").fit(blobs())
    test = blobs((30, 30, 30), seed=1)
    scored = balanced_accuracy(test.tensors[1], fitted.predict(test))
    assert fitted.evaluate(test).after.balanced_accuracy == scored


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_logits_are_those_that_the_classes_are_predicted_by(precision: str) -> None:
    fitted = trainer(mixed_precision=precision).fit(blobs())
    test = blobs((30, 30, 30), seed=1)
    logits = fitted.predict_logits(test)
    assert (logits.shape, logits.dtype) == ((90, 3), np.float32)
    assert np.array_equal(logits.argmax(axis=1), fitted.predict(test))
    if precision == "no":
        fitted.model.eval()
        expected = fitted.model(test.tensors[0]).detach().numpy()
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_logits_may_be_a_part_of_what_a_network_gives() -> None:
    given = trainer(Net(after=lambda z: SimpleNamespace(logits=z)), head="fc")
    expected = trainer(Net(), head="fc").predict_logits(blobs())
    assert np.array_equal(given.predict_logits(blobs()), expected)


def test_every_pass_has_the_batches_and_processes_of_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Any, ...]] = []

    def look(rows: Any, batch_size: int, num_workers: int = 0, **rest: Any) -> Any:
        asked.append((batch_size, num_workers, rest["collate_fn"]))
        return loader(rows, batch_size, **rest)

    monkeypatch.setattr("expansive.train.embedding.loader", look)
    fitted = trainer(batch_size=7, num_workers=3, collate_fn=default_collate)
    for use in (fitted.expand, fitted.predict, fitted.predict_logits):
        use(blobs())
        assert asked.pop() == (7, 3, default_collate)


def test_an_embedding_keeps_no_memory_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class FirstToken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            tokens = x[:, None].repeat(1, 50, 1)
            return self.fc(tokens[:, 0])

    accelerator = trainer().accelerator()
    held: list[int] = []

    def gather(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        held.append(pair[0].untyped_storage().nbytes())
        return pair

    monkeypatch.setattr(accelerator, "gather_for_metrics", gather)
    found = embed(FirstToken(), "fc", blobs(), accelerator, batch_size=16)
    assert sum(held) == found.x.numel() * found.x.element_size()


def test_a_head_may_be_called_by_keyword() -> None:
    model = Net(call=lambda head, x: head(input=x))
    assert torch.equal(embedding_of(model), model.embedding(blobs().tensors[0]))
    trainer(model, head="fc").fit(blobs())


def test_of_a_head_that_is_called_twice_the_last_call_counts() -> None:
    model = Net(call=lambda head, x: (head(torch.zeros_like(x)), head(x))[1])
    assert torch.equal(embedding_of(model), model.embedding(blobs().tensors[0]))
    check_head(model, "fc", blobs(), 3, trainer().accelerator())


def test_a_head_that_some_batches_pass_by_is_refused() -> None:
    model = Net(call=lambda head, x: head(x) if len(x) == 16 else x[:, :3])
    with pytest.raises(ValueError, match="did not call its module 'fc'"):
        embed(model, "fc", blobs(), trainer().accelerator(), batch_size=16)


def test_a_hook_of_the_head_changes_its_input_once() -> None:
    model = Net()
    model.fc.register_forward_pre_hook(lambda module, arguments: (2 * arguments[0],))
    assert torch.equal(embedding_of(model), model.embedding(blobs().tensors[0]))
    trainer(model, head="fc").fit(blobs())


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    with warnings.catch_warnings():
        # The first import of torch's compiler (2.11) uses what torch deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled() -> tuple[nn.Module, str]:
    model = Net()
    model.compile(backend="eager")
    return model, "fc"


def wrapped() -> tuple[nn.Module, str]:
    return torch.compile(Net(), backend="eager"), "_orig_mod.fc"


SMALL = {"batch_size": 16, "k": 3, "progress": False, "cpu": True, "warmup_epochs": 1}


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("make", [compiled, wrapped])
def test_compiled_models_are_embedded(make: Callable[[], tuple[nn.Module, str]]) -> None:
    model, head = make()
    fitted = ThreePhaseTrainer(model, head, epochs=2, head_epochs=2, **SMALL)
    fitted.fit(blobs((160, 80, 40)))
    test = blobs((30, 30, 30), seed=1)
    scored = balanced_accuracy(test.tensors[1], fitted.predict(test))
    assert fitted.evaluate(test).after.balanced_accuracy == scored


@pytest.mark.usefixtures("_fresh_compiler")
def test_where_torch_cannot_run_a_compiled_model_uncompiled_the_error_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.compiler, "set_stance")
    model, head = compiled()
    with torch.inference_mode():
        model.eval()(blobs().tensors[0])
    with pytest.raises(ValueError, match=r"did not call .*a compiled model needs torch 2\.6"):
        embedding_of(model, head)
    assert torch.equal(embedding_of(Net()), Net().embedding(blobs().tensors[0]))


# Which heads are refused ----------------------------------------------------------------------


REFUSED = {
    "not called": (Net(), "unused", "did not call its module 'unused'"),
    "input of three dimensions": (Net(), "pool", r"be of shape \[batch, d\], not \[4, 5, 1\]"),
    "a middle layer": (Net(), "body", r"head 'body' must give logits .* 3\], .* not \[4, 5\]"),
    "a middle layer as wide": (Net(), "narrow", "not those that its head 'narrow' gives: name its"),
    "classes in another order": (Net(after=lambda z: z.flip(1)), "fc", "not those that its head"),
    "scaled logits": (Net(after=lambda z: 3 * z), "fc", "put it and the last layer into one"),
    "called for each part": (
        Net(call=lambda head, x: head(x.repeat(2, 1)).view(2, -1, 3).mean(0)),
        "fc",
        "not those that its head",
    ),
    "logits of three dimensions": (
        Net(nn.Sequential(nn.Linear(5, 3), nn.Unflatten(1, (3, 1)))),
        "fc",
        r"network must give logits of shape \[batch, 3\], one per class, not \[4, 3, 1\]",
    ),
    "too few logits": (Net(nn.Linear(5, 2)), "fc", r"network must give logits .* not \[4, 2\]"),
}


@pytest.mark.parametrize(("model", "head", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("phase", ["fit", "fit_backbone", "expand"])
def test_a_head_that_does_not_make_the_logits_is_refused_before_any_work(
    model: nn.Module, head: str, message: str, phase: str
) -> None:
    before = states(model)
    fitted = trainer(model, head=head)
    with pytest.raises(ValueError, match=message):
        getattr(fitted, phase)(blobs())
    assert not differing(model, before)
    assert fitted.seconds == {}
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_rebalance_head_refuses_a_middle_layer() -> None:
    with pytest.raises(ValueError, match="not those that its head 'narrow' gives"):
        rebalance_head(Net(), "narrow", data=blobs(), progress=False, cpu=True, k=3)


def test_rebalance_head_says_what_it_lacks_and_what_it_does_not_take() -> None:
    model = network()
    with pytest.raises(TypeError, match="data is missing"):
        rebalance_head(model, "classifier.1")
    with pytest.raises(TypeError, match=r"epochs=50 are of phase 1, .* set head_epochs"):
        rebalance_head(model, "classifier.1", blobs(), epochs=50)
    with pytest.raises(TypeError, match=r"head must be the name of a module, .* not a Linear"):
        rebalance_head(model, model.classifier[1], data=blobs())
    with pytest.raises(ValueError, match=r"\[batch, 3\].* not \[\d+, 5\]; the labels are 0 to 2"):
        rebalance_head(network(5), "classifier.1", blobs(), progress=False, cpu=True)


def test_a_network_that_makes_nan_is_named_as_the_cause() -> None:
    model = network()
    nn.init.constant_(model.body[0].weight, float("nan"))
    with pytest.raises(ValueError, match="the network makes NaN or infinity of 66 of 66 rows"):
        rebalance_head(model, "classifier.1", blobs(), k=3, progress=False, cpu=True)


def linear(weight: float, *bias: float) -> nn.Linear:
    head = nn.Linear(5, 3)
    nn.init.constant_(head.weight, weight)
    head.bias = nn.Parameter(torch.tensor(bias))
    return head


ACCEPTED = {
    "shifted logits": Net(after=lambda z: z.log_softmax(1)),
    "logits shifted far": Net(after=lambda z: z + 30_000),
    "logits rounded on their way": Net(after=lambda z: z + 4 - 4),
    "dropout": Net(nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3))),
    "zeros": Net(linear(0.0, 0.0, 0.0, 0.0), after=lambda z: z.log_softmax(1)),
    "a masked class": Net(linear(1.0, 0.0, 1.0, -torch.inf)),
    "no numbers": Net(linear(torch.nan, 0.0, 0.0, 0.0)),
    "in data parallel": nn.DataParallel(Net()),
}


@pytest.mark.usefixtures("_own_accelerator_state")
@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_head_that_makes_the_logits_passes(name: str, dtype: torch.dtype) -> None:
    rows = blobs()
    rows.tensors = (rows.tensors[0].to(dtype), rows.tensors[1])
    model = ACCEPTED[name].to(dtype)
    head = next(found for found, _ in model.named_modules() if found.endswith("fc"))
    # Where there is a GPU: DataParallel runs on nothing else then.
    check_head(model, head, rows, 3, trainer(cpu=False).accelerator())


def test_fewer_rows_than_are_looked_at_are_enough() -> None:
    logits, labels = check_head(Net(), "fc", blobs((1, 1, 1)), 3, trainer().accelerator())
    assert logits.shape == (3, 3)
    assert labels.tolist() == [0, 1, 2]


@pytest.mark.usefixtures("_own_accelerator_state")
def test_a_head_that_is_called_in_full_precision_under_autocast_passes() -> None:
    def full(head: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return head(x.float())

    check_head(Net(call=full), "fc", blobs(), 3, trainer(mixed_precision="bf16").accelerator())


class Augmented(Dataset[Any]):
    """`blobs` with noise from every global generator."""

    rows = blobs()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        x, y = self.rows[row]
        noise = torch.rand(1) + np.random.rand() + random.random()  # noqa: NPY002
        return x + noise.float(), y


def test_the_check_leaves_model_and_generators_alone() -> None:
    model = network()
    model.body[1].eval()
    modes = [part.training for part in model.modules()]
    before = states(model)
    fitted = trainer(model)

    def drawn() -> tuple[Any, ...]:
        return torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002

    def seed() -> None:
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        random.seed(5)

    seed()
    expected = drawn()
    seed()
    check_head(model, "classifier.1", Augmented(), 3, fitted.accelerator())
    assert drawn() == expected
    assert [part.training for part in model.modules()] == modes
    assert not differing(model, before)


class Cached(nn.Module):
    scale: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.scale = torch.ones(6) if self.scale is None else self.scale
        return x * x.new_ones(6).requires_grad_() * self.scale


def test_what_a_model_keeps_from_its_first_call_is_fit_for_training() -> None:
    model = Net()
    model.body.insert(0, Cached())
    trainer(model, head="fc").fit(blobs())
