"""From a study to cells: what it runs, and the key by which each cell is found again.

A key is the hash of everything that decides a cell's result, so a study that is extended keeps its
finished cells. Settings of methods and data that are as by default do not enter it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from expansive.study.methods import REVISIONS, eos_settings

FORMAT = 1
"""Part of every key; to be raised when a default or the meaning of a setting changes."""

Settings = dict[str, Any]

DATA: Settings = {
    "imbalance": None,
    "n_max": None,
    "tail": "exponential",
    "augment": True,
    "image_size": None,
}
BACKBONE: Settings = {"width": None}
SHOWN = {
    "cifar10": "CIFAR-10",
    "cifar10-jpeg": "CIFAR-10 (JPEG)",
    "fashion-mnist": "Fashion-MNIST",
    "digits": "Digits",
}


@dataclass(frozen=True)
class Network:
    """What phase 1 trains once for all methods.

    Attributes
    ----------
    source : str
        Where the data come from, as `expansive.datasets.load` takes it. Of
        ``"cifar10-jpeg:PATH"`` the path does not enter the key.
    data, backbone, schedule : dict
        Complete settings.
    loss : str
    seed : int
        Decides the long tail, the first weights, the order of rows and the augmentation.
    """

    source: str
    data: Settings
    backbone: Settings
    loss: str
    seed: int
    schedule: Settings

    def settings(self) -> Settings:
        """Give what decides the result, ready for JSON."""
        return {
            "format": FORMAT,
            "source": self.source.partition(":")[0],
            "data": _changed(self.data, DATA),
            "backbone": _changed(self.backbone, BACKBONE),
            "loss": self.loss,
            "seed": self.seed,
            "schedule": self.schedule,
        }

    @property
    def data_name(self) -> str:
        """The data set with its imbalance, for people."""
        name = self.source.partition(":")[0]
        shown = SHOWN.get(name, Path(name).stem)
        imbalance = self.data["imbalance"]
        return shown if imbalance is None else f"{shown} {imbalance:g}:1"

    @property
    def backbone_name(self) -> str:
        """The backbone with the settings that are not as by default."""
        return with_parameters(self.backbone["name"], _changed(self.backbone, BACKBONE), "name")

    @property
    def name(self) -> str:
        """Readable name; unique within a study with the same schedule throughout."""
        return f"{self.data_name}/{self.backbone_name}/{self.loss}/seed {self.seed}"

    @property
    def file_stem(self) -> str:
        """Name of its folder: readable, and with the key."""
        return _file_stem(self.name, self.settings())


@dataclass(frozen=True)
class Cell:
    """One method on one network: one result file.

    Attributes
    ----------
    network : Network
    method : str
        A key of `methods.METHODS` or `methods.HEAD_RULES`.
    parameters : dict
        Those that are not as by default.
    head : dict
        Schedule of phase 3.
    """

    network: Network
    method: str
    parameters: Settings
    head: Settings

    def settings(self) -> Settings:
        """Give what decides the result, ready for JSON."""
        own: Settings = {"network": self.network.settings(), "head": self.head}
        own |= {"method": self.method, "parameters": self.parameters}
        if self.method in REVISIONS:
            own["revision"] = REVISIONS[self.method]
        return own

    @property
    def method_name(self) -> str:
        """The method with its parameters, such as ``"eos k=100"``."""
        return with_parameters(self.method, self.parameters)

    @property
    def label(self) -> str:
        """The method as reports call it."""
        return label_of(self.method, self.parameters)

    @property
    def name(self) -> str:
        """Readable name: data/backbone/loss/method/seed."""
        start, _, seed = self.network.name.rpartition("/")
        return f"{start}/{self.method_name}/{seed}"

    @property
    def file_stem(self) -> str:
        """Name of its result file: readable, and with the key."""
        return _file_stem(self.name, self.settings())


@dataclass(frozen=True)
class Study:
    """What a YAML file asks for; see `reading.read` for its fields."""

    title: str
    data: list[Settings]
    backbones: list[Settings]
    losses: list[str]
    methods: list[tuple[str, Settings]]
    seeds: list[int]
    schedule: Settings
    head: Settings
    reference: str
    note: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference_label(self) -> str:
        """The reference as reports call it."""
        found = (own for own in self.methods if with_parameters(*own) == self.reference)
        return label_of(*next(found))

    def cells(self) -> Iterator[Cell]:
        """Give the cells, seed by seed, so that whole comparisons are there early."""
        for network in self.networks():
            for method, parameters in self.methods:
                yield Cell(network, method, parameters, self.head)

    def networks(self) -> Iterator[Network]:
        """Give the networks, seed by seed."""
        for seed in self.seeds:
            for data in self.data:
                own = {key: value for key, value in data.items() if key != "source"}
                source = self.sources.get(data["source"], data["source"])
                for backbone in self.backbones:
                    for loss in self.losses:
                        yield Network(source, own, backbone, loss, seed, self.schedule)

    def with_sources(self, sources: Mapping[str, str]) -> Study:
        """Take data from elsewhere: a mapping from a source in the YAML to what replaces it."""
        known = {data["source"] for data in self.data}
        for name in sources:
            if name not in known:
                raise ValueError(
                    f"source {name!r} is not in the study; it has {', '.join(sorted(known))}"
                )
        return replace(self, sources=dict(sources))


def label_of(method: str, parameters: Settings) -> str:
    """Name a method for people; EOS always says which enemies and how many, also by default."""
    if method != "eos":
        return with_parameters(method, parameters)
    enemies, k, expansion = eos_settings(parameters)
    part = "" if expansion == "0 to 1" else f" expansion {expansion}"
    return f"eos {enemies} k={k}{part}"


def selected(cells: Iterator[Cell], only: str | None) -> list[Cell]:
    """Keep the cells whose name has the pattern `only` in it (``*`` and ``?`` as in a shell).

    Raises
    ------
    ValueError
        When none has; gives a name as an example.
    """
    found = list(cells)
    kept = [cell for cell in found if only is None or fnmatch(cell.name, f"*{only}*")]
    if not kept:
        raise ValueError(f"no cell fits only={only!r}; a cell's name is like {found[0].name!r}")
    return kept


def _changed(settings: Settings, defaults: Settings) -> Settings:
    return {
        key: value
        for key, value in settings.items()
        if key not in defaults or value != defaults[key]
    }


def with_parameters(name: str, parameters: Settings, leave_out: str = "") -> str:
    """Write a name with its parameters behind it."""
    texts = [f"{key}={_text(value)}" for key, value in parameters.items() if key != leave_out]
    return " ".join([name, *texts])


def _text(value: Any) -> str:
    return "..".join(map(str, value)) if isinstance(value, list) else str(value)


def _file_stem(name: str, settings: Settings) -> str:
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9.=]+", "-", name).strip("-").lower()
    return f"{readable[:120]}-{digest}"
