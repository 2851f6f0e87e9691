"""Small residual networks for small images (He et al. 2016, arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from expansive.train.models.parts import conv3x3, initialise, require_least


def resnet(depth: int, n_classes: int, in_channels: int = 3, width: int = 16) -> ResNet:
    """Build a CIFAR-style residual network with parameter-free shortcuts (option A).

    Parameters
    ----------
    depth : int
        Number of layers, 6 n + 2: 8, 14, 20, 32, 44, 56, 110 ...
    n_classes : int
        Number of logits, at least 2.
    in_channels : int
        Channels of the images: 3 for colour, 1 for grey.
    width : int
        Channels of the first stage; the embedding has four times as many features.

    Returns
    -------
    ResNet
        Takes float images [batch, in_channels, height, width] of any size and gives logits
        [batch, n_classes]. Its head is `fc`. Weights are drawn from torch's global generator.

    Raises
    ------
    ValueError
        For a depth that is not 6 n + 2, or another argument below its smallest value.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth must be 6 n + 2, such as 8, 20, 32 or 56, not {depth}")
    require_least(n_classes=(n_classes, 2), in_channels=(in_channels, 1), width=(width, 1))
    return ResNet((depth - 2) // 6, n_classes, in_channels, width)


class ResNet(nn.Module):
    """Three stages of basic blocks, global average pooling and a linear head; see `resnet`."""

    def __init__(self, blocks: int, n_classes: int, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv = conv3x3(in_channels, width)
        self.norm = nn.BatchNorm2d(width)
        self.stages = nn.Sequential(
            _stage(width, width, 1, blocks),
            _stage(width, 2 * width, 2, blocks),
            _stage(2 * width, 4 * width, 2, blocks),
        )
        self.fc = nn.Linear(4 * width, n_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, channels, height, width] to logits [batch, n_classes]."""
        features = self.stages(F.relu(self.norm(self.conv(images))))
        return cast(Tensor, self.fc(features.mean(dim=(2, 3))))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.padding = stride, outputs - inputs
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        # Option A: subsample the identity and fill the new channels with zeros, half on each side.
        before = self.padding // 2
        skipped = x[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(skipped, (0, 0, 0, 0, before, self.padding - before))
        return torch.relu(residual + shortcut)


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    rest = [_Block(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(_Block(inputs, outputs, stride), *rest)
