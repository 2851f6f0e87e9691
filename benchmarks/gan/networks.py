"""Small convolutional networks in the manner of DCGAN (Radford et al. 2015, arXiv 1511.06434)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def generator(inputs: int, channels: int, size: int, width: int) -> nn.Sequential:
    """Map vectors [batch, inputs] to images [batch, channels, size, size] in [-1, 1].

    `size` is a multiple of 4; `width` is the number of channels in the stage before the last.
    """
    side = size // 4
    return nn.Sequential(
        nn.Linear(inputs, 2 * width * side * side),
        nn.Unflatten(1, (2 * width, side, side)),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.ConvTranspose2d(width, channels, 4, 2, 1),
        nn.Tanh(),
    )


def trunk(channels: int, width: int) -> nn.Sequential:
    """Map images [batch, channels, size, size] to features [batch, n_features(size, width)]."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
    )


def n_features(size: int, width: int) -> int:
    """Count the features of a `trunk` of that width, for images of that size."""
    return 2 * width * (size // 4) ** 2


def one_hot(labels: Tensor, n_classes: int) -> Tensor:
    """Give indicators [batch, n_classes], float32."""
    return F.one_hot(labels, n_classes).float()


class ConditionalDiscriminator(nn.Module):
    """Logits [batch] that an image is a real one of its class.

    The class enters as one constant plane for each class, as channels beside the image's.
    """

    def __init__(self, n_classes: int, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.trunk = trunk(channels + n_classes, width)
        self.head = nn.Linear(n_features(size, width), 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Judge images [batch, channels, size, size] of classes `labels` [batch]."""
        planes = one_hot(labels, self.n_classes)[:, :, None, None]
        planes = planes.expand(-1, -1, *images.shape[2:])
        return cast(Tensor, self.head(self.trunk(torch.cat([images, planes], 1)))[:, 0])

    def loss(self, real: Tensor, real_labels: Tensor, fake: Tensor, fake_labels: Tensor) -> Tensor:
        """Cross-entropy of telling real from generated images, which get no gradient."""
        judged = self(real, real_labels), self(fake.detach(), fake_labels)
        return cross_entropy(judged[0], 1.0) + cross_entropy(judged[1], 0.0)


def cross_entropy(logits: Tensor, truth: float) -> Tensor:
    """Binary cross-entropy with one truth for the whole batch."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))
