"""The residual networks: shapes, parameter counts of the paper, and the identity shortcut."""

import pytest
import torch

from expansive.train.models import resnet

pytestmark = pytest.mark.train


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (56, 0.85)])
def test_sizes_are_those_of_the_paper(depth: int, millions: float) -> None:
    # He et al. 2016, table 6.
    parameters = sum(weight.numel() for weight in resnet(depth, 10).parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize(("channels", "side", "width"), [(3, 32, 16), (1, 28, 4), (1, 7, 3)])
def test_logits_and_embedding_have_the_promised_shapes(
    channels: int, side: int, width: int
) -> None:
    model = resnet(8, 5, in_channels=channels, width=width)
    assert model.fc.in_features == 4 * width
    assert model(torch.zeros(2, channels, side, side)).shape == (2, 5)


def test_depth_counts_the_weighted_layers() -> None:
    layers = [
        m for m in resnet(32, 10).modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)
    ]
    assert len(layers) == 32


def test_a_block_without_residual_passes_the_identity_on() -> None:
    block = resnet(8, 2).stages[1][0].eval()
    torch.nn.init.zeros_(block.norm2.weight)
    image = torch.rand(1, 16, 8, 8)
    passed = block(image)
    assert torch.equal(passed[:, 8:24], image[:, :, ::2, ::2])
    assert passed[:, :8].abs().sum() == passed[:, 24:].abs().sum() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((9, 10), "depth must be 6 n"),
        ((2, 10), "depth must be 6 n"),
        ((8, 1), "n_classes must be at least 2, not 1"),
        ((8, 10, 0), "in_channels must be at least 1"),
        ((8, 10, 3, 0), "width must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resnet(*arguments)
