"""Phases 2 and 3 on a device: embeddings never come to the host. The device is pretended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fake_device
from expansive.arrays.libraries import Torch
from expansive.synthesis import SynthesisPlan
from expansive.train import embedding
from expansive.train.data import loader
from expansive.train.embedding import EmbeddedRows, embed, home
from expansive.train.head import Expanded
from training import blobs, network, states, trainer

pytestmark = pytest.mark.train


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Elements of each floating-point tensor that is taken to the host, while the test runs."""
    fake_device.pretend_cuda(monkeypatch)
    taken: list[int] = []

    def watch(holder: Any, name: str) -> None:
        real = getattr(holder, name)

        def counting(x: Any, *rest: Any, **options: Any) -> Any:
            if isinstance(x, Tensor) and x.is_floating_point():
                taken.append(x.numel())
            return real(x, *rest, **options)

        monkeypatch.setattr(holder, name, counting)

    for name in ("cpu", "numpy", "tolist", "__array__"):
        watch(Tensor, name)
    return taken


@pytest.mark.parametrize("method", ["eos", "smote", "random"])
def test_no_embedding_is_copied_to_the_host(copies: list[int], method: str) -> None:
    fitted = trainer(method=method)
    plan = fitted.expand(blobs())
    fitted.fit_head()
    n, d = fitted.embeddings.x.shape
    assert max(copies, default=0) <= n_weights(fitted.model)
    assert set(fake_device.places) == {"cuda:0"}
    assert plan.n_samples > 0
    fitted.embeddings.x.cpu()
    assert copies[-1] == n * d > n_weights(fitted.model)


def n_weights(model: nn.Module) -> int:
    """Elements of the largest weight, which the snapshots of the best epoch copy."""
    return max(weight.numel() for weight in model.state_dict().values())


def test_the_device_gives_the_same_head(copies: list[int], monkeypatch: Any) -> None:
    def head() -> dict[str, Tensor]:
        fitted = trainer().fit(blobs())
        return states(fitted.model)

    there = head()
    assert "cuda:0" in fake_device.places
    monkeypatch.undo()
    fake_device.places.clear()
    here = head()
    assert fake_device.places == []
    assert all(torch.equal(here[name], there[name]) for name in here)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_embeddings_keep_the_dtype_that_enters_the_head(dtype: torch.dtype) -> None:
    rows = blobs()
    rows.tensors = (rows.tensors[0].to(dtype), rows.tensors[1])
    model = network().to(dtype)
    found = embed(model, "classifier.1", rows, trainer().accelerator())
    assert found.x.dtype == dtype
    plan = SynthesisPlan.eos(found.x, found.y, k=3)
    batch, _ = Expanded(found, plan).__getitems__([0, len(found.x), 3])
    assert batch.dtype == dtype
    assert torch.equal(batch[1], plan.generate(found.x, 0, 1)[0])


@pytest.mark.usefixtures("_own_accelerator_state")
def test_training_in_mixed_precision_keeps_bfloat16_embeddings() -> None:
    model = network()
    model.body[1] = nn.Identity()  # batch statistics are kept in float32
    fitted = trainer(model, mixed_precision="bf16").fit(blobs())
    assert fitted.embeddings.x.dtype == torch.bfloat16
    found = fitted.evaluate(blobs((20, 20, 20), seed=1))
    assert found.sample.train_x.dtype == np.float32
    assert np.isfinite(found.gap_after).all()


def test_embeddings_stay_on_a_device_where_a_backend_takes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = torch.device("cuda", 0)
    assert home(torch.device("cpu")) == torch.device("cpu")
    assert home(torch.device("mps")) == torch.device("cpu")
    fake_device.pretend_cuda(monkeypatch)
    assert home(device) == device
    monkeypatch.setattr(fake_device, "TAKES_DEVICE_ARRAYS", False)
    assert home(device) == torch.device("cpu")


def test_batches_on_a_device_are_not_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only host memory can be; a batch on the device is given as it is."""
    rows = EmbeddedRows(torch.arange(12.0).reshape(6, 2), torch.arange(6))
    first = next(iter(loader(rows, 4)))
    assert torch.equal(first[0], rows.x[:4])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert loader(rows, 4).pin_memory
    rows.device = torch.device("cuda", 0)
    assert not loader(rows, 4).pin_memory


def test_the_pretended_device_is_no_part_of_other_tests() -> None:
    assert Torch.ordinal(torch.zeros(1)) == -1
    assert embedding.get_backend(on_device=True) is not fake_device
