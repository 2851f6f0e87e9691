"""Networks, heads and optimizers that a later phase could not use: refused before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from expansive.train.checkpoint import CheckpointError, checkpoints
from expansive.train.embedding import embed
from training import blobs, differing, interrupted, network, states, trainer

pytestmark = pytest.mark.train


def refused(model: nn.Module, error: type[Exception], message: str, **settings: Any) -> None:
    """Fit and see the error, and that nothing was done before it."""
    before = states(model)
    fitted = trainer(model, **settings)
    with pytest.raises(error, match=message):
        fitted.fit(blobs())
    assert differing(model, before) == set()
    assert fitted.seconds == {}


# New weights for the head -----------------------------------------------------------------------


class Raw(nn.Module):
    """A linear head whose parameter nothing draws anew."""

    def __init__(self, trainable: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 16), requires_grad=trainable)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


class Drawn(Raw):
    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)


class Partly(Raw):
    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight[:2])


def with_head(head: nn.Module) -> nn.Module:
    model = network()
    model.classifier[1] = head
    return model


KEEPS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "raw": (Raw, "classifier.1.weight"),
    "partly": (Partly, "classifier.1.weight"),
    "inside": (lambda: nn.Sequential(nn.LayerNorm(16), Raw()), "classifier.1.1.weight"),
    "parametrized": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(16, 3)),
        "classifier.1.parametrizations.weight.original0",
    ),
    "orthogonal": (
        lambda: nn.utils.parametrizations.orthogonal(nn.Linear(16, 3)),
        "classifier.1.parametrizations.weight.original",
    ),
}


@pytest.mark.parametrize(("make", "name"), KEEPS.values(), ids=KEEPS)
def test_a_head_that_cannot_be_drawn_anew_is_refused(
    make: Callable[[], nn.Module], name: str
) -> None:
    wanted = f"reinit_head is True, and {name} would stay as it is, .* or set reinit_head=False"
    refused(with_head(make()), ValueError, wanted, reinit_head=True)


@pytest.mark.parametrize(
    "make",
    [
        Drawn,
        lambda: nn.Sequential(nn.LayerNorm(16), nn.BatchNorm1d(16), nn.Linear(16, 3)),
        lambda: nn.Sequential(nn.Linear(16, 16), nn.PReLU(), nn.Linear(16, 3)),
    ],
)
def test_a_head_of_layers_that_can_is_taken(make: Callable[[], nn.Module]) -> None:
    model = with_head(make())
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    before = states(model)
    trainer(model, reinit_head=True).expand(blobs())
    assert differing(model, before) == set()
    assert torch.rand(1) == expected


def test_what_is_not_trained_or_not_drawn_need_not_be_drawn_anew() -> None:
    trainer(with_head(Raw())).fit(blobs())
    scaled = nn.Sequential(nn.Linear(16, 16), Raw(trainable=False))
    trainer(with_head(scaled), reinit_head=True).fit(blobs())


# Shared parameters ------------------------------------------------------------------------------


def tied(trainable: bool = True) -> nn.Module:
    model = with_head(nn.Linear(16, 16))
    model.body[3] = nn.Linear(16, 16)
    model.classifier[1].weight = model.body[3].weight
    model.body[3].weight.requires_grad_(trainable)
    return model


def shared() -> nn.Module:
    """Hold the same layer in the body and in the head."""
    layer = nn.Linear(16, 16)
    model = with_head(nn.Sequential(layer, nn.Linear(16, 3)))
    model.body[3] = layer
    return model


@pytest.mark.parametrize(
    ("make", "own"), [(tied, "classifier.1.weight"), (shared, "classifier.1.0.weight")]
)
def test_a_head_that_shares_a_parameter_is_refused(make: Callable[[], nn.Module], own: str) -> None:
    wanted = rf"head shares its parameter {own} with body.3.weight, .* nn.Parameter\({own}.detach"
    refused(make(), ValueError, wanted)


def test_a_shared_parameter_that_is_frozen_changes_no_embedding() -> None:
    model = tied(trainable=False)
    wide = TensorDataset(blobs((80, 80, 80)).tensors[0], torch.arange(240) % 16)
    fitted = trainer(model)
    fitted.expand(wide)
    before = embed(model, "classifier.1", wide, fitted.accelerator()).x
    fitted.fit_head()
    assert torch.equal(embed(model, "classifier.1", wide, fitted.accelerator()).x, before)


def test_a_head_that_is_registered_twice_shares_nothing() -> None:
    model = network()
    model.heads = nn.ModuleList([model.classifier[1]])
    model.forward = lambda x: model.classifier(model.body(x))
    trainer(model).fit(blobs())


# States that are no tensors ---------------------------------------------------------------------


class Counting(nn.Identity):
    """A layer with a state beside its tensors, which `make` gives."""

    def __init__(self, make: Callable[[int], Any] = lambda calls: {"calls": calls}) -> None:
        super().__init__()
        self.calls, self.make = 0, make

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return x

    def get_extra_state(self) -> Any:
        return self.make(self.calls)

    def set_extra_state(self, state: Any) -> None:
        self.calls = state["calls"]


def counting(seed: int = 0, **options: Any) -> nn.Module:
    model = network(seed=seed)
    model.body[3] = Counting(**options)
    return model


@pytest.mark.parametrize("phase", ["backbone", "head"])
def test_a_state_that_is_no_tensor_is_kept_and_resumed(tmp_path: Path, phase: str) -> None:
    straight, resumed = counting(), counting(seed=9)
    trainer(straight).fit(blobs())
    interrupted(tmp_path, phase, model=counting())
    trainer(resumed, checkpoint_dir=tmp_path).fit(blobs(), resume=True)
    assert resumed.body[3].calls == straight.body[3].calls > 0
    assert all(
        torch.equal(value, straight.state_dict()[name])
        for name, value in resumed.state_dict().items()
        if isinstance(value, Tensor)
    )


def test_a_missing_or_other_state_is_named(tmp_path: Path) -> None:
    interrupted(tmp_path, model=counting())
    wanted = r"shape of body.3._extra_state is dict there and missing here"
    with pytest.raises(CheckpointError, match=wanted):
        trainer(checkpoint_dir=tmp_path).fit(blobs(), resume=True)
    (checkpoints(tmp_path)[-1] / "model.extras.pt").write_bytes(b"noise")
    with pytest.raises(CheckpointError, match=r"model\.extras\.pt.* cannot be read"):
        trainer(counting(), checkpoint_dir=tmp_path).fit(blobs(), resume=True)


class Own:
    """Read by running code."""


def test_a_state_that_cannot_be_read_back_is_refused_where_checkpoints_are_written(
    tmp_path: Path,
) -> None:
    wanted = "body.3._extra_state in the state_dict of model is a Own .* set checkpoint_dir=None"
    fitted = trainer(counting(make=lambda calls: Own()), checkpoint_dir=tmp_path)
    with pytest.raises(TypeError, match=wanted):
        fitted.fit(blobs())
    assert fitted.seconds == {}
    assert list(tmp_path.iterdir()) == []
    trainer(counting(make=lambda calls: {"calls": calls, "own": Own()})).fit(blobs())


# How a batch is passed --------------------------------------------------------------------------


class Halves(Dataset[Any]):
    """The halves of `blobs`, made to one input."""

    def __init__(self, make: Callable[[Tensor, Tensor], Any]) -> None:
        self.rows, self.make = blobs(), make

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Any, Tensor]:
        x, y = self.rows[row]
        return self.make(x[:3], x[3:]), y


class OfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.inner(torch.cat([left, right], dim=1))


class OfKeywords(OfTwo):
    def forward(self, left: Any = None, right: Any = None) -> Tensor:
        return super().forward(left.float(), right.float())


@pytest.mark.parametrize(
    ("model", "make", "message", "cause"),
    [
        (OfTwo, lambda a, b: (a, b), "raised TypeError: .* here a list: .* wrap it", TypeError),
        (OfTwo, lambda a, b: {"left": a, "right": b}, "raised TypeError: .* a dict", TypeError),
        (
            OfKeywords,
            lambda a, b: {"left": a, "right": b},
            r"raised AttributeError: .* here a dict: .* self.model\(\*\*batch\) for a dict",
            AttributeError,
        ),
    ],
)
def test_a_forward_of_several_arguments_is_refused_with_how_to_wrap_it(
    model: Callable[[], nn.Module], make: Any, message: str, cause: type[Exception]
) -> None:
    fitted = trainer(model(), head="inner.classifier.1")
    with pytest.raises(TypeError, match=message) as error:
        fitted.fit(Halves(make))
    assert type(error.value.__cause__) is cause
    with pytest.raises(TypeError, match=message):
        fitted.predict(Halves(make))
    assert fitted.seconds == {}


@pytest.mark.parametrize(("model", "stars"), [(OfTwo, 1), (OfKeywords, 2)])
def test_the_wrap_that_the_error_names_works(model: Callable[[], nn.Module], stars: int) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model()

        def forward(self, batch: Any) -> Any:
            return self.model(*batch) if stars == 1 else self.model(**batch)

    fitted = trainer(Wrapped(), head="model.inner.classifier.1")
    fitted.fit(Halves(lambda a, b: (a, b) if stars == 1 else {"left": a, "right": b}))
    expected = trainer().fit(blobs()).model.state_dict()
    assert differing(fitted.model.model.inner, expected) == set()


def test_an_error_of_the_network_on_a_tensor_is_its_own() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.missing

    model = network()
    model.body[3] = Broken()
    with pytest.raises(AttributeError, match=r"has no attribute 'missing'$"):
        trainer(model).fit(blobs())


# Optimizers -------------------------------------------------------------------------------------


def test_an_optimizer_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match=r"optimizer must give an optimizer, .* not 'adam'"):
        trainer(optimizer=lambda parameters: "adam").fit_backbone(blobs())


def test_an_optimizer_that_needs_a_closure_is_refused() -> None:
    wanted = "optimizer gives LBFGS, whose step needs a closure, .*: give another, such as torch"
    refused(network(), ValueError, wanted, optimizer=torch.optim.LBFGS)


# Before phase 1, not after it --------------------------------------------------------------------


def test_a_frozen_head_is_refused() -> None:
    model = network()
    model.classifier[1].requires_grad_(False)
    refused(model, ValueError, "the head has no parameter with requires_grad=True")


def test_places_that_cannot_be_written_to_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=r"log_path is .* a folder; name a file"):
        trainer(log_path=tmp_path)
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "inside"
    with pytest.raises(OSError, match="checkpoint_dir"):
        trainer(checkpoint_dir=folder).fit(blobs())


def test_a_folder_that_the_system_refuses_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    message = "checkpoint_dir .* cannot be made .No space left on device.: give a folder"
    refused(network(), OSError, message, checkpoint_dir=tmp_path / "new")


@pytest.mark.parametrize(
    "inputs", [torch.zeros(9, 5), torch.zeros(9, 6, dtype=torch.float64)], ids=["shape", "dtype"]
)
def test_rows_that_the_network_does_not_take_are_named(inputs: Tensor) -> None:
    rows = TensorDataset(inputs, torch.arange(9) % 3)
    for given, name in (((rows, None), "training rows"), ((blobs(), rows), "rows of val_set")):
        fitted = trainer(on_epoch=lambda _: pytest.fail("an epoch was run"))
        with pytest.raises(RuntimeError, match=f"the first {name} .torch.float.*, such as torch"):
            fitted.fit(*given)


def test_without_gradients_around_it_training_has_its_own() -> None:
    with torch.no_grad():
        fitted = trainer().fit(blobs())
    assert differing(fitted.model, states(trainer().fit(blobs()).model)) == set()


class Renamed(nn.Module):
    """A network whose head has a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.other_name = self.inner.classifier[1]

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_a_head_may_be_called_by_any_of_its_names() -> None:
    fitted = trainer(Renamed(), head="other_name").fit(blobs())
    assert differing(fitted.model.inner, states(trainer().fit(blobs()).model)) == set()
