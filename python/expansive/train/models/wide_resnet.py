"""Wide residual networks for small images (Zagoruyko and Komodakis 2016, arXiv 1605.07146)."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from expansive.train.models.parts import conv3x3, initialise, pooled, require_least


def wide_resnet(depth: int, widen: int, n_classes: int, in_channels: int = 3) -> WideResNet:
    """Build a CIFAR-style wide residual network, WRN-depth-widen, without dropout.

    Parameters
    ----------
    depth : int
        Number of convolutions, those of the shortcuts among them, 6 n + 4: 10, 16, 22, 28, 40 ...
    widen : int
        Factor on the 16, 32 and 64 channels of the stages; the embedding has 64 `widen` features.
    n_classes : int
        Number of logits, at least 2.
    in_channels : int
        Channels of the images: 3 for colour, 1 for grey.

    Returns
    -------
    WideResNet
        Takes float images [batch, in_channels, height, width] of any size and gives logits
        [batch, n_classes]. Its head is `fc`. Weights are drawn from torch's global generator.

    Raises
    ------
    ValueError
        For a depth that is not 6 n + 4, or another argument below its smallest value.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"depth must be 6 n + 4, such as 10, 16, 28 or 40, not {depth}")
    require_least(widen=(widen, 1), n_classes=(n_classes, 2), in_channels=(in_channels, 1))
    return WideResNet((depth - 4) // 6, widen, n_classes, in_channels)


class WideResNet(nn.Module):
    """Three stages of pre-activation blocks, pooling and a linear head; see `wide_resnet`."""

    def __init__(self, blocks: int, widen: int, n_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(in_channels, 16)
        self.stages = nn.Sequential(
            _stage(16, 16 * widen, 1, blocks),
            _stage(16 * widen, 32 * widen, 2, blocks),
            _stage(32 * widen, 64 * widen, 2, blocks),
        )
        self.norm = nn.BatchNorm2d(64 * widen)
        self.fc = nn.Linear(64 * widen, n_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, channels, height, width] to logits [batch, n_classes]."""
        return cast(Tensor, self.fc(pooled(self.norm, self.stages(self.conv(images)))))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.norm1(x))
        residual = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        # A shortcut with weights begins after the activation, as in the authors' code.
        return cast(Tensor, residual + (self.shortcut(activated) if self.shortcut else x))


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    rest = [_Block(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(_Block(inputs, outputs, stride), *rest)
