"""The backbones: published parameter counts, shapes, embeddings, heads and names."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expansive import datasets
from expansive.train import ThreePhaseTrainer
from expansive.train.accelerators import make_accelerator
from expansive.train.embedding import embed
from expansive.train.losses import LDAM
from expansive.train.models import (
    NormedLinear,
    by_name,
    check_name,
    densenet,
    norm_head,
    resnet,
    saved,
    wide_resnet,
)

pytestmark = pytest.mark.train

SMALL = ["resnet8", "wrn-10-1", "densenet-10-4", "densenet-bc-10-4"]


@pytest.mark.parametrize(
    ("name", "millions", "digit"),
    [
        # He et al. 2016, table 6.
        ("resnet20", 0.27, 0.01),
        ("resnet32", 0.46, 0.01),
        ("resnet56", 0.85, 0.01),
        ("resnet110", 1.7, 0.1),
        # Zagoruyko and Komodakis 2016, tables 3 to 5.
        ("wrn-40-1", 0.6, 0.1),
        ("wrn-40-4", 8.9, 0.1),
        ("wrn-16-8", 11.0, 0.1),
        ("wrn-28-10", 36.5, 0.1),
        # Huang et al. 2017, table 2.
        ("densenet-40-12", 1.0, 0.1),
        ("densenet-100-12", 7.0, 0.1),
        ("densenet-bc-100-12", 0.8, 0.1),
        ("densenet-bc-250-24", 15.3, 0.1),
    ],
)
def test_sizes_are_those_of_the_papers(name: str, millions: float, digit: float) -> None:
    with torch.device("meta"):
        model = by_name(name, 10).model
    parameters = sum(weight.numel() for weight in model.parameters())
    # Some figures are rounded, others cut off.
    assert abs(parameters / 1e6 - millions) < digit


def test_the_size_of_wrn_16_4_is_that_of_its_layers() -> None:
    # Convolutions 3 x 3 of 3-16, 16-64-64-64-64, 64-128-128-128-128, 128-256-256-256-256; 1 x 1
    # of 16-64, 64-128, 128-256; two numbers per channel that is normalised; the head.
    convolutions = 9 * (3 * 16 + 16 * 64 + 3 * 64**2 + 64 * 128 + 3 * 128**2)
    convolutions += 9 * (128 * 256 + 3 * 256**2) + 16 * 64 + 64 * 128 + 128 * 256
    norms = 2 * (16 + 3 * 64 + 64 + 3 * 128 + 128 + 3 * 256 + 256)
    model = wide_resnet(16, 4, 10)
    parameters = sum(weight.numel() for weight in model.parameters())
    assert parameters == convolutions + norms + 257 * 10
    assert parameters / 1e6 == pytest.approx(2.75, abs=0.005)


@pytest.mark.parametrize(
    ("name", "features"),
    [("resnet8", 64), ("wrn-10-2", 128), ("densenet-10-4", 40), ("densenet-bc-16-4", 16)],
)
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 28), (1, 7)])
def test_logits_and_embedding_have_the_promised_shapes(
    name: str, features: int, channels: int, side: int
) -> None:
    model, head = by_name(name, 5, channels)
    rows = TensorDataset(torch.rand(3, channels, side, side), torch.arange(3))
    embedded = embed(model, head, rows, make_accelerator(cpu=True)).x
    assert head == "fc"
    assert embedded.shape == (3, features)
    logits = model.eval()(rows.tensors[0])
    torch.testing.assert_close(model.get_submodule(head)(embedded), logits)
    assert logits.shape == (3, 5)


def test_width_is_the_channels_of_the_first_stage_of_a_resnet() -> None:
    assert by_name("resnet8", 2, width=3).model.fc.in_features == 12


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("resnet32", 32),
        # Convolutions alone, those of the shortcuts among them; the head comes on top.
        ("wrn-16-2", 16 + 1),
        ("densenet-40-4", 40),
        ("densenet-bc-40-4", 40),
    ],
)
def test_depth_counts_the_weighted_layers(name: str, depth: int) -> None:
    layers = [m for m in by_name(name, 10).model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


def test_a_resnet_block_without_residual_passes_the_identity_on() -> None:
    block = resnet(8, 2).stages[1][0].eval()
    nn.init.zeros_(block.norm2.weight)
    image = torch.rand(1, 16, 8, 8)
    passed = block(image)
    assert torch.equal(passed[:, 8:24], image[:, :, ::2, ::2])
    assert passed[:, :8].abs().sum() == passed[:, 24:].abs().sum() == 0


def test_a_wide_block_without_residual_passes_the_identity_on_also_below_zero() -> None:
    first, second = wide_resnet(16, 1, 2).stages[1].eval()
    for block in (first, second):
        nn.init.zeros_(block.conv2.weight)
    image = torch.randn(1, 16, 8, 8)
    assert torch.equal(second(first(image)), first(image))
    activated = torch.relu(first.norm1(image))
    torch.testing.assert_close(first(image), first.shortcut(activated))


def test_a_dense_layer_keeps_what_it_is_given_and_adds_to_it() -> None:
    layer = densenet(10, 4, 2).stages[0].eval()
    image = torch.randn(1, 16, 8, 8)
    kept = image.clone()
    found = layer(image)
    assert found.shape == (1, 20, 8, 8)
    assert torch.equal(found[:, :16], kept)
    assert torch.equal(image, kept)


@pytest.mark.parametrize("name", ["wrn-10-1", "densenet-10-4"])
def test_the_embedding_is_normalised_activated_and_averaged(name: str) -> None:
    model, head = by_name(name, 2)
    with torch.no_grad():
        model.norm.weight.zero_()
        model.norm.bias.copy_(torch.linspace(-1, 1, len(model.norm.bias)))
    rows = TensorDataset(torch.rand(2, 3, 8, 8), torch.arange(2))
    found = embed(model, head, rows, make_accelerator(cpu=True)).x
    torch.testing.assert_close(found, model.norm.bias.detach().relu().expand(2, -1))


def conv(x: Tensor, layer: nn.Module, stride: int = 1) -> Tensor:
    """Convolve with nothing but the weights of a layer."""
    return F.conv2d(x, layer.weight, stride=stride, padding=layer.weight.shape[-1] // 2)


def resnet_by_hand(model: nn.Module, x: Tensor) -> Tensor:
    x = model.norm(conv(x, model.conv)).relu()
    for stage, blocks in enumerate(model.stages):
        for number, block in enumerate(blocks):
            stride = 2 if stage and not number else 1
            inner = block.norm1(conv(x, block.conv1, stride)).relu()
            inner = block.norm2(conv(inner, block.conv2))
            half = (inner.shape[1] - x.shape[1]) // 2
            x = (inner + F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, half, half))).relu()
    return model.fc(x.mean((2, 3)))


def wide_resnet_by_hand(model: nn.Module, x: Tensor) -> Tensor:
    x = conv(x, model.conv)
    for stage, blocks in enumerate(model.stages):
        for number, block in enumerate(blocks):
            stride = 2 if stage and not number else 1
            active = block.norm1(x).relu()
            inner = conv(block.norm2(conv(active, block.conv1, stride)).relu(), block.conv2)
            x = inner + (conv(active, block.shortcut, stride) if block.shortcut else x)
    return model.fc(model.norm(x).relu().mean((2, 3)))


def densenet_by_hand(model: nn.Module, x: Tensor) -> Tensor:
    x = conv(x, model.conv)
    for part in model.stages:
        inner = x
        for norm, _, layer in part.body if hasattr(part, "body") else part[:1]:
            inner = conv(norm(inner).relu(), layer)
        x = torch.cat([x, inner], 1) if hasattr(part, "body") else F.avg_pool2d(inner, 2)
    return model.fc(model.norm(x).relu().mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("resnet14", resnet_by_hand),
        ("wrn-16-2", wide_resnet_by_hand),
        ("densenet-16-4", densenet_by_hand),
        ("densenet-bc-22-4", densenet_by_hand),
    ],
)
def test_logits_are_those_of_the_layers_one_after_the_other(
    name: str, by_hand: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    torch.manual_seed(0)
    model = by_name(name, 3).model.double().eval()
    for norm in (part for part in model.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.0)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    images = torch.randn(2, 3, 13, 16, dtype=torch.float64)
    torch.testing.assert_close(model(images), by_hand(model, images))


@pytest.mark.parametrize("name", SMALL)
def test_first_weights_are_normal_and_as_large_as_he_et_al_draw_them(name: str) -> None:
    torch.manual_seed(0)
    for layer in by_name(name, 40).model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            drawn = layer.weight.detach().flatten() * (layer.weight[0].numel() / 2) ** 0.5
            # Five standard errors; a uniform one of this size ends at the root of 3.
            assert abs(float(drawn.std()) - 1) < 5 / (2 * len(drawn)) ** 0.5
            assert float(drawn.abs().max()) > 1.8


def test_images_have_colours_unless_it_is_said() -> None:
    for model in (resnet(8, 2), wide_resnet(10, 1, 2), densenet(10, 4, 2), by_name("wrn-10-1", 2)):
        assert getattr(model, "model", model).conv.in_channels == 3


@pytest.mark.parametrize("name", SMALL)
def test_three_phases_train_it(name: str) -> None:
    torch.manual_seed(0)
    model, head = by_name(name, 2, 1, normed_head=True)
    labels = torch.arange(24) % 6 // 5
    rows = TensorDataset(torch.rand(24, 1, 8, 8) + labels[:, None, None, None], labels)
    settings: dict[str, Any] = {"loss": "ldam_drw", "epochs": 2, "head_epochs": 1, "k": 3}
    quiet: dict[str, Any] = {"cpu": True, "progress": False, "val_fraction": 0, "select": "last"}
    fitted = ThreePhaseTrainer(model, head, **settings, **quiet).fit(rows)
    assert fitted.plan is not None
    assert fitted.plan.n_samples == 16
    assert all(weight.isfinite().all() for weight in model.parameters())


# The cosine head --------------------------------------------------------------------------------


def test_a_normed_head_gives_cosines() -> None:
    head = NormedLinear(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.2], [-5.0, 5.0]]))
    found = head(torch.tensor([[3.0, 4.0], [-2.0, 0.0]]))
    expected = torch.tensor([[0.6, 0.8, 0.2 / math.sqrt(2)], [-1.0, 0.0, math.sqrt(0.5)]])
    torch.testing.assert_close(found, expected)
    scaled = NormedLinear(2, 3, scale=30)
    scaled.load_state_dict(head.state_dict())
    torch.testing.assert_close(scaled(torch.tensor([[3.0, 4.0]])), 30 * expected[:1])


def test_a_normed_head_is_not_rounded_under_autocast() -> None:
    head, embeddings = NormedLinear(8, 4), torch.randn(5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = head(embeddings)
    assert torch.equal(found, head(embeddings))
    assert head(embeddings.bfloat16()).dtype == torch.float32


def test_new_weights_of_a_normed_head_have_length_one() -> None:
    head = NormedLinear(8, 4)
    before = head.weight.detach().clone()
    head.reset_parameters()
    assert not torch.equal(head.weight, before)
    torch.testing.assert_close(head.weight.norm(dim=1), torch.ones(4))
    assert head.weight.min() < 0 < head.weight.max()


def test_norm_head_replaces_a_nested_linear_head() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 3)))
    assert norm_head(model, "1.1", scale=2) is model
    assert (model[1][1].in_features, model[1][1].out_features, model[1][1].scale) == (8, 3, 2)
    with pytest.raises(ValueError, match=r"head '1\.0' must be a Linear .*, not a ReLU"):
        norm_head(model, "1.0")
    loss = LDAM().with_counts(torch.tensor([5, 2, 1]))
    loss(model(torch.rand(6, 4)), torch.arange(6) % 3).backward()
    assert float(model[1][1].weight.grad.abs().sum()) > 0


def test_norm_head_takes_the_head_fc_and_leaves_cosines_and_device_as_they_are() -> None:
    with torch.device("meta"):
        model = resnet(8, 3)
    head = norm_head(model).fc
    assert isinstance(head, NormedLinear)
    assert head.scale == 1
    assert head.weight.device.type == "meta"


# Names ------------------------------------------------------------------------------------------


class FakeTimm(SimpleNamespace):
    """What is used of timm: a model with a head of another name, and one with two heads."""

    def is_model(self, name: str) -> bool:
        return name in ("tiny", "distilled")

    def list_models(self) -> list[str]:
        return ["tiny", "distilled"]

    def create_model(self, name: str, num_classes: int, in_chans: int) -> nn.Module:
        body = nn.Sequential(nn.Flatten(), nn.Linear(in_chans * 16, 6))
        model = nn.Sequential(body, nn.Sequential(nn.Identity(), nn.Linear(6, num_classes)))
        classifier = "1.1" if name == "tiny" else ("head", "head_dist")
        model.default_cfg = {"classifier": classifier}
        return model


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", FakeTimm())


@pytest.mark.usefixtures("timm")
def test_a_timm_model_comes_with_its_own_head() -> None:
    model, head = by_name("timm:tiny", 5, 2)
    assert head == "1.1"
    rows = TensorDataset(torch.rand(3, 2, 4, 4), torch.arange(3))
    assert embed(model, head, rows, make_accelerator(cpu=True)).x.shape == (3, 6)
    assert model(rows.tensors[0]).shape == (3, 5)
    normed = by_name("timm:tiny", 5, 2, normed_head=True).model
    assert isinstance(normed[1][1], NormedLinear)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:tin", "timm has no model 'tin'; close to it: tiny"),
        ("timm:vast", "timm has no model 'vast'; close to it: none"),
        ("timm:distilled", r"distilled has several heads \(head, head_dist\)"),
    ],
)
def test_unknown_timm_models_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_name(name)


def test_without_timm_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"pip install 'expansive\[timm\]'"):
        check_name("timm:resnet18")


def test_checking_a_name_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    for name in [*SMALL, "wrn-28-10"]:
        check_name(name)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "vit",
            r"unknown model 'vit'; give resnetDEPTH .*wrn-.*densenet-.*densenet-bc-.*timm:NAME",
        ),
        ("resnet", "unknown model 'resnet'"),
        ("resnet32x", "unknown model 'resnet32x'"),
        ("wrn-16", "unknown model 'wrn-16'"),
        ("densenet-40-12-3", "unknown model 'densenet-40-12-3'"),
        ("resnet9", "depth must be 6 n [+] 2, .*not 9"),
        ("resnet2", "depth must be 6 n [+] 2, .*not 2"),
        ("wrn-17-4", "depth must be 6 n [+] 4, .*not 17"),
        ("wrn-4-4", "depth must be 6 n [+] 4, .*not 4"),
        ("wrn-16-0", "widen must be at least 1, not 0"),
        ("densenet-41-12", "depth must be 3 n [+] 4, .*not 41"),
        ("densenet-4-12", "depth must be 3 n [+] 4, .*not 4"),
        ("densenet-bc-13-12", "depth of a DenseNet-BC must be 6 n [+] 4, .*not 13"),
        ("densenet-40-0", "growth must be at least 1, not 0"),
    ],
)
def test_bad_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_name(name)


def test_checking_a_name_looks_at_the_width_too() -> None:
    check_name("resnet8", width=4)
    with pytest.raises(ValueError, match="width must be at least 1, not 0"):
        check_name("resnet8", width=0)


@pytest.mark.parametrize("name", SMALL)
def test_bad_arguments_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="n_classes must be at least 2, not 1"):
        by_name(name, 1)
    with pytest.raises(ValueError, match="in_channels must be at least 1, not 0"):
        by_name(name, 2, 0)
    message = "width must be at least 1" if name == "resnet8" else f"width is for .*not for '{name}"
    with pytest.raises(ValueError, match=message):
        by_name(name, 2, width=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2), "in_features must be at least 1"),
        ((2, 0), "out_features must be at least 1"),
        ((2, 2, 0.0), "scale must be above 0, not 0.0"),
        ((2, 2, math.nan), "scale must be above 0, not nan"),
    ],
)
def test_bad_arguments_of_a_normed_head_are_refused(
    arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        NormedLinear(*arguments)


@pytest.mark.parametrize("width", [None, 4])
def test_a_saved_network_needs_nothing_else(tmp_path: Path, width: int | None) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    rows = datasets.to_torch(datasets.ArrayData(images, np.arange(6) % 2, ["cat", "dog"]))
    torch.manual_seed(1)
    model, head = by_name("resnet8", 2, 1, width=width)
    for part in model.modules():  # so that a mode or a normalisation that is lost shows
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-1, 1)
    saved.save(tmp_path / "model.safetensors", model, rows, name="resnet8", width=width, head=head)
    before = torch.get_rng_state()
    found = saved.load(tmp_path / "model.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    assert (found.head, found.classes, found.shape) == ("fc", ["cat", "dog"], (8, 8, 1))
    inputs = torch.stack([rows[i][0] for i in range(6)])
    with torch.no_grad():
        expected = model.eval()(inputs)
        assert torch.equal(found.model(inputs), expected)
    names = [found.classes[code] for code in expected.argmax(dim=1)]
    assert found.predict(images).tolist() == found.predict(images[..., 0]).tolist() == names
    with pytest.raises(ValueError, match=r"shape \[n, 8, 8, 1\] .* not \[6, 4, 8, 1\]"):
        found.predict(images[:, :4])


def test_weights_alone_are_no_saved_network(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="does not say what network it holds"):
        saved.load(tmp_path / "model.safetensors")
