"""Device and precision: each trainer has its own, whatever else the process uses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch import Tensor, nn

from expansive.train.accelerators import make_accelerator
from expansive.train.settings import Settings
from training import blobs, differing, network, states, trainer

pytestmark = pytest.mark.train


@pytest.fixture
def _no_launcher(_own_accelerator_state: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have been told a precision: these are told none."""
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)


def unnormed() -> nn.Sequential:
    """Make a network whose embeddings are of the precision that it is trained in."""
    model = network()
    model.body[1] = nn.Identity()
    return model


@pytest.mark.usefixtures("_no_launcher")
def test_each_trainer_has_its_own_precision() -> None:
    for given, recorded, dtype in [
        ("bf16", "bf16", torch.bfloat16),
        (None, "no", torch.float32),
        ("bf16", "bf16", torch.bfloat16),
        ("no", "no", torch.float32),
    ]:
        fitted = trainer(unnormed(), mixed_precision=given)
        fitted.fit(blobs())
        assert fitted.embeddings.x.dtype == dtype
        assert fitted.record()["mixed_precision"] == recorded


@pytest.mark.usefixtures("_no_launcher")
def test_every_pass_of_a_network_has_the_precision_of_its_trainer() -> None:
    seen: set[bool] = set()

    class Watched(nn.Identity):
        def forward(self, x: Tensor) -> Tensor:
            seen.add(torch.is_autocast_enabled("cpu"))
            return x

    model = network()
    model.body[3] = Watched()
    trainer(model, mixed_precision="bf16").fit(blobs())
    assert seen == {True}


@pytest.mark.usefixtures("_no_launcher")
def test_the_device_is_the_cpu_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class Watched(Accelerator):
        def __init__(self, **options: Any) -> None:
            asked.append(options)
            super().__init__(**options)

    monkeypatch.setattr("expansive.train.accelerators.Accelerator", Watched)
    Settings(cpu=True).accelerator()
    assert asked == [{"cpu": True, "mixed_precision": "no"}]


@pytest.fixture
def _another_device(_no_launcher: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a device beside the CPU, and it is the default one."""
    monkeypatch.setattr(PartialState, "default_device", torch.device("meta"))


@pytest.mark.usefixtures("_another_device")
def test_each_trainer_has_its_own_device() -> None:
    for cpu, device in [(False, "meta"), (True, "cpu"), (False, "meta"), (True, "cpu")]:
        assert Settings(cpu=cpu).accelerator().device.type == device
    assert make_accelerator().device.type == "meta"
    assert Settings(cpu=True, mixed_precision="bf16").accelerator().device.type == "cpu"
    assert make_accelerator().mixed_precision == "no"


@pytest.mark.usefixtures("_another_device")
def test_a_trainer_on_the_cpu_says_that_an_accelerator_in_use_is_elsewhere() -> None:
    theirs = Accelerator(mixed_precision="bf16")
    assert theirs.device.type == "meta"
    with pytest.raises(ValueError, match=r"cpu is True.*on 'meta': leave cpu out"):
        Settings(cpu=True, mixed_precision="bf16").accelerator()
    assert make_accelerator().mixed_precision == "bf16"
    del theirs
    assert Settings(cpu=True).accelerator().device.type == "cpu"


@pytest.mark.usefixtures("_another_device")
def test_the_processes_of_a_launch_stay_on_their_device() -> None:
    Settings().accelerator()
    for state in (PartialState(), AcceleratorState()):
        state.distributed_type = DistributedType.MULTI_GPU
    with pytest.raises(ValueError, match=r"cpu is True.*launch are on 'meta'.*--cpu"):
        Settings(cpu=True).accelerator()
    for state in (PartialState(), AcceleratorState()):
        state.distributed_type, state.device = DistributedType.MULTI_CPU, torch.device("cpu")
    assert Settings().accelerator().device.type == "cpu"


@pytest.mark.usefixtures("_another_device")
def test_an_accelerator_in_use_on_the_cpu_keeps_others_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = Accelerator(cpu=True)
    assert Settings().accelerator().device == theirs.device == torch.device("cpu")
    del theirs
    assert Settings().accelerator().device.type == "meta"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    assert Settings().accelerator().device.type == "cpu"


@pytest.mark.usefixtures("_no_launcher")
def test_precision_is_what_accelerate_launch_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    fitted = trainer(unnormed())
    fitted.expand(blobs())
    assert fitted.record()["mixed_precision"] == "bf16"
    assert fitted.embeddings.x.dtype == torch.bfloat16
    assert Settings(mixed_precision="no").mixed_precision == "no"


@pytest.mark.usefixtures("_no_launcher")
def test_the_precision_of_an_accelerator_in_use_is_not_changed() -> None:
    theirs = Accelerator(cpu=True, mixed_precision="bf16")
    trainer(mixed_precision="bf16").expand(blobs())
    with pytest.raises(ValueError, match=r"mixed_precision is 'no'.*'bf16': give the same"):
        trainer()
    assert theirs.mixed_precision == "bf16"
    # One that only holds itself alive is in nobody's way.
    theirs.itself = theirs
    del theirs
    trainer().expand(blobs())


@pytest.mark.usefixtures("_no_launcher")
def test_training_in_another_precision_between_epochs_changes_none() -> None:
    seen: set[str] = set()

    class Watched(nn.Identity):
        def forward(self, x: Tensor) -> Tensor:
            if not self.training:
                seen.add(AcceleratorState().mixed_precision)
            return x

    def other(record: dict[str, Any]) -> None:
        trainer(mixed_precision="no").expand(blobs())

    model = unnormed()
    model.body[3] = Watched()
    trainer(model, mixed_precision="bf16", on_epoch=other).fit_backbone(blobs())
    assert seen == {"bf16"}


@pytest.mark.usefixtures("_another_device")
def test_an_accelerator_elsewhere_between_epochs_moves_no_training() -> None:
    def other(record: dict[str, Any]) -> None:
        assert make_accelerator().device.type == "meta"

    alone, beside = network(), network()
    beside.load_state_dict(alone.state_dict())
    trainer(alone).fit_backbone(blobs())
    trainer(beside, on_epoch=other).fit_backbone(blobs())
    assert differing(beside, states(alone)) == set()
