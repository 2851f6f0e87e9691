"""What the backbones have in common."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution that keeps the size (divided by `stride`), without bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def require_least(**arguments: tuple[int, int]) -> None:
    """Raise ValueError for the first argument, given as (value, least), that is below its least."""
    for name, (value, least) in arguments.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, not {value}")


def initialise(model: nn.Module) -> None:
    """Draw all weights as He et al. 2015 (arXiv 1502.01852) do."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)


class PreActivation(nn.Sequential):
    """BatchNorm, ReLU, convolution: the order of pre-activation networks."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(nn.BatchNorm2d(conv.in_channels), nn.ReLU(inplace=True), conv)


def pooled(norm: nn.BatchNorm2d, features: Tensor) -> Tensor:
    """Give the embedding [batch, channels] of a pre-activation network from its last features."""
    return F.relu(norm(features)).mean(dim=(2, 3))
