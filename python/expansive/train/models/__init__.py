"""Backbones for small images, all with a linear head `fc`; any other by its timm name.

`by_name` builds each from a name such as ``"resnet32"``, ``"wrn-16-4"`` or ``"densenet-40-12"``.
"""

from expansive.train.models.densenet import DenseNet, densenet
from expansive.train.models.heads import NormedLinear, norm_head
from expansive.train.models.names import Network, by_name, check_name
from expansive.train.models.resnet import ResNet, resnet
from expansive.train.models.wide_resnet import WideResNet, wide_resnet

__all__ = [
    "DenseNet",
    "Network",
    "NormedLinear",
    "ResNet",
    "WideResNet",
    "by_name",
    "check_name",
    "densenet",
    "norm_head",
    "resnet",
    "wide_resnet",
]
