"""Networks by name."""

from __future__ import annotations

import difflib
import re
from typing import Any, NamedTuple

import torch
from torch import nn

from expansive.extras import import_extra
from expansive.train.models.densenet import densenet
from expansive.train.models.heads import norm_head
from expansive.train.models.resnet import resnet
from expansive.train.models.wide_resnet import wide_resnet

FORMS = (
    "resnetDEPTH (resnet32)",
    "wrn-DEPTH-WIDEN (wrn-16-4)",
    "densenet-DEPTH-GROWTH (densenet-40-12)",
    "densenet-bc-DEPTH-GROWTH (densenet-bc-100-12)",
    "timm:NAME (timm:resnet18)",
)


class Network(NamedTuple):
    """A network and the dotted name of its head.

    Attributes
    ----------
    model : Module
    head : str
    """

    model: nn.Module
    head: str


def by_name(
    name: str,
    n_classes: int,
    in_channels: int = 3,
    *,
    width: int | None = None,
    normed_head: bool = False,
) -> Network:
    """Build a network from its name.

    Parameters
    ----------
    name : str
        ``"resnet32"``, ``"wrn-16-4"``, ``"densenet-40-12"``, ``"densenet-bc-100-12"`` or others of
        these forms, see `resnet`, `wide_resnet` and `densenet`; or ``"timm:resnet18"`` for a model
        of timm, without trained weights, which may ask for images of a certain size.
    n_classes : int
        Number of logits, at least 2.
    in_channels : int
        Channels of the images: 3 for colour, 1 for grey.
    width : int or None
        Channels of the first stage of a resnet, None for 16; the others name theirs.
    normed_head : bool
        Give it the cosine head that ``loss="ldam"`` is made for; see `NormedLinear`.

    Returns
    -------
    Network
        The model, whose weights are drawn from torch's global generator, and its head's name.

    Raises
    ------
    ValueError
        For an unknown name, which lists the forms, or numbers that make no such network.
    ImportError
        For a timm model without timm.
    """
    network = _build(name, n_classes, in_channels, width)
    if normed_head:
        norm_head(*network)
    return network


def check_name(name: str, *, width: int | None = None) -> None:
    """Raise what `by_name` would, without memory for weights or a random number."""
    with torch.device("meta"):
        by_name(name, 2, width=width)


def _build(name: str, n_classes: int, in_channels: int, width: int | None) -> Network:
    if match := re.fullmatch(r"resnet(\d+)", name):
        channels = 16 if width is None else width
        return Network(resnet(int(match[1]), n_classes, in_channels, channels), "fc")
    if width is not None:
        raise ValueError(f"width is for a resnet alone, not for {name!r}: leave it out")
    if match := re.fullmatch(r"wrn-(\d+)-(\d+)", name):
        return Network(wide_resnet(int(match[1]), int(match[2]), n_classes, in_channels), "fc")
    if match := re.fullmatch(r"densenet-(bc-)?(\d+)-(\d+)", name):
        depth, growth, bc = int(match[2]), int(match[3]), match[1] is not None
        return Network(densenet(depth, growth, n_classes, in_channels, bc=bc), "fc")
    if name.startswith("timm:"):
        return _timm(name.removeprefix("timm:"), n_classes, in_channels)
    raise ValueError(
        f"unknown model {name!r}; give {', '.join(FORMS)}; ThreePhaseTrainer takes any torch module"
    )


def _timm(name: str, n_classes: int, in_channels: int) -> Network:
    timm: Any = import_extra("timm", "timm")
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models())
        raise ValueError(f"timm has no model {name!r}; close to it: {', '.join(close) or 'none'}")
    model = timm.create_model(name, num_classes=n_classes, in_chans=in_channels)
    head = model.default_cfg["classifier"]
    if not isinstance(head, str):
        raise ValueError(
            f"timm's {name} has several heads ({', '.join(head)}), and one is needed: take another"
        )
    return Network(model, head)
