"""Densely connected networks for small images (Huang et al. 2017, arXiv 1608.06993)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from expansive.train.models.parts import (
    PreActivation,
    conv3x3,
    initialise,
    pooled,
    require_least,
)


def densenet(
    depth: int, growth: int, n_classes: int, in_channels: int = 3, *, bc: bool = False
) -> DenseNet:
    """Build a CIFAR-style DenseNet of three dense blocks, without dropout.

    Parameters
    ----------
    depth : int
        Number of layers, 3 n + 4: 22, 40, 100 ...; 6 n + 4 with `bc`.
    growth : int
        Channels that each layer adds, the paper's k.
    n_classes : int
        Number of logits, at least 2.
    in_channels : int
        Channels of the images: 3 for colour, 1 for grey.
    bc : bool
        DenseNet-BC: a bottleneck of 4 `growth` channels before each layer, half the channels kept
        between blocks, and 2 `growth` channels to begin with rather than 16.

    Returns
    -------
    DenseNet
        Takes float images [batch, in_channels, height, width] of at least 4 x 4 and gives logits
        [batch, n_classes]. Its head is `fc`. Weights are drawn from torch's global generator.

    Raises
    ------
    ValueError
        For a depth of another form, or another argument below its smallest value.
    """
    step = 6 if bc else 3
    if depth < step + 4 or (depth - 4) % step:
        kind = "depth of a DenseNet-BC" if bc else "depth"
        raise ValueError(f"{kind} must be {step} n + 4, such as 22, 40 or 100, not {depth}")
    require_least(growth=(growth, 1), n_classes=(n_classes, 2), in_channels=(in_channels, 1))
    return DenseNet((depth - 4) // step, growth, n_classes, in_channels, bc)


class DenseNet(nn.Module):
    """Three dense blocks with transitions between, pooling and a linear head; see `densenet`."""

    def __init__(
        self, layers: int, growth: int, n_classes: int, in_channels: int, bc: bool
    ) -> None:
        super().__init__()
        channels = 2 * growth if bc else 16
        self.conv = conv3x3(in_channels, channels)
        self.stages = nn.Sequential()
        for stage in range(3):
            if stage:
                kept = channels // 2 if bc else channels
                self.stages.append(_transition(channels, kept))
                channels = kept
            for _ in range(layers):
                self.stages.append(_Layer(channels, growth, bc))
                channels += growth
        self.norm = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, n_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, channels, height, width] to logits [batch, n_classes]."""
        return cast(Tensor, self.fc(pooled(self.norm, self.stages(self.conv(images)))))


class _Layer(nn.Module):
    """Appends `growth` channels to those it is given."""

    def __init__(self, inputs: int, growth: int, bottleneck: bool) -> None:
        super().__init__()
        self.body = nn.Sequential()
        if bottleneck:
            self.body.append(PreActivation(nn.Conv2d(inputs, 4 * growth, 1, bias=False)))
        self.body.append(PreActivation(conv3x3(4 * growth if bottleneck else inputs, growth)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


def _transition(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(PreActivation(nn.Conv2d(inputs, outputs, 1, bias=False)), nn.AvgPool2d(2))
