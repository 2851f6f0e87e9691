"""From YAML to cells: what a study runs, and the key by which each cell is found again.

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
from importlib import resources
from pathlib import Path
from typing import Any

from expansive.datasets.sources import fashion_mnist_folder
from expansive.extras import import_extra
from expansive.study.methods import REVISIONS, eos_settings, parameters_of
from expansive.train.losses import LOSSES
from expansive.train.models import check_name

FORMAT = 1
"""Part of every key; to be raised when a default or the meaning of a setting changes."""

FASHION_MNIST_FILE = "train-images-idx3-ubyte.gz"
PRESETS = ("quick", "unaugmented", "losses", "paper")

Settings = dict[str, Any]

DATA: Settings = {
    "imbalance": None,
    "n_max": None,
    "tail": "exponential",
    "augment": True,
    "image_size": None,
}
BACKBONE: Settings = {"width": None}
SCHEDULE: Settings = {
    "epochs": 200,
    "batch_size": 128,
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 2e-4,
    "schedule": "step",
    "warmup_epochs": 5,
    "mixed_precision": "no",
}
"""LDAM-DRW's for long-tailed CIFAR (Cao et al. 2019, arXiv 1906.07413)."""
HEAD: Settings = {"epochs": 10, "mixed_precision": "no", "loss": None}
"""What phase 3 has of its own (loss None: that of phase 1); the rest is as in phase 1."""

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
        return _with_parameters(self.backbone["name"], _changed(self.backbone, BACKBONE), "name")

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
        return _with_parameters(self.method, self.parameters)

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
    """What a YAML file asks for; see `read` for its fields."""

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
        found = (own for own in self.methods if _with_parameters(*own) == self.reference)
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
        return _with_parameters(method, parameters)
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


def read_preset(name: str) -> Study:
    """Read a study that comes with the package, one of `PRESETS`.

    ``"quick"`` takes scikit-learn's digits where the files of Fashion-MNIST are missing.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    if name == "quick" and not (fashion_mnist_folder() / FASHION_MNIST_FILE).is_file():
        name = "quick-digits"
    file = resources.files("expansive.study").joinpath("presets", f"{name}.yaml")
    return parse(file.read_text(encoding="utf-8"), f"preset {name}")


def read(path: Path) -> Study:
    """Read a study from a YAML file.

    Its fields: ``title``, ``note`` (text for the report), ``data`` (a list of {source, imbalance,
    n_max, tail: exponential or step, augment, image_size}), ``backbones`` (names, as
    `expansive.train.models.by_name` takes them, or {name, width}), ``losses`` (names), ``methods``
    (names, or {name: {parameter: value}}), ``seeds`` (a number, or a list), ``schedule`` (see
    `SCHEDULE`), ``head`` (``epochs``, ``loss`` and what else differs from `schedule`),
    ``reference`` (the method that the others are compared with).

    Raises
    ------
    ValueError
        For an unknown field or value, before any work.
    """
    return parse(path.read_text(encoding="utf-8"), str(path))


def parse(text: str, where: str) -> Study:
    """Make a study of YAML text; `where` is what errors call it. See `read`."""
    yaml = import_extra("yaml", "study")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{where} must hold fields such as data, losses and methods")
    try:
        return _study(content)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error


def _study(content: Settings) -> Study:
    needed = ("data", "backbones", "losses", "methods", "seeds")
    _known(content, {*needed, "title", "note", "schedule", "head", "reference"}, "the study")
    for name in needed:
        if not content.get(name):
            raise ValueError(f"the field {name!r} is missing or empty")
    schedule = SCHEDULE | _schedule(content.get("schedule", {}), "schedule")
    given = dict(content.get("head", {}))
    loss = given.pop("loss", None)
    own = {"loss": None if loss is None else _loss(loss)}
    head = schedule | HEAD | own | _schedule(given, "head")
    methods = [_method(entry) for entry in content["methods"]]
    names = [_with_parameters(*method) for method in methods]
    return Study(
        title=str(content.get("title", "Study")),
        note=str(content.get("note", "")),
        data=[_data(entry) for entry in content["data"]],
        backbones=[_backbone(entry) for entry in content["backbones"]],
        losses=[_loss(name) for name in content["losses"]],
        methods=methods,
        seeds=_seeds(content["seeds"]),
        schedule=schedule,
        head=head,
        reference=_reference(content.get("reference"), names),
    )


def _schedule(given: Any, what: str) -> Settings:
    """Check settings of a schedule, each given the type of its default: 1 and 1.0 are one."""
    known = _known(given, SCHEDULE, what)
    return {name: type(SCHEDULE[name])(value) for name, value in known.items()}


def _data(entry: Any) -> Settings:
    given = {"source": entry} if isinstance(entry, str) else dict(entry)
    _known(given, {"source", *DATA}, "data")
    if not given.get("source"):
        raise ValueError(f"data needs a source in {entry!r}")
    made = DATA | given
    if made["tail"] not in ("exponential", "step"):
        raise ValueError(f"tail must be 'exponential' or 'step', not {made['tail']!r}")
    return made


def _backbone(entry: Any) -> Settings:
    given = {"name": entry} if isinstance(entry, str) else dict(entry)
    if not given.get("name"):
        raise ValueError(f"a backbone needs a name in {entry!r}")
    made: Settings = BACKBONE | _known(given, {"name", *BACKBONE}, "a backbone")
    check_name(made["name"], width=made["width"])
    return made


def _loss(name: Any) -> str:
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; choose one of {', '.join(LOSSES)}")
    return str(name)


def _method(entry: Any) -> tuple[str, Settings]:
    if isinstance(entry, str):
        return entry, parameters_of(entry, {})
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ValueError(f"a method is a name or {{name: {{parameter: value}}}}, not {entry!r}")
    ((name, parameters),) = entry.items()
    return str(name), parameters_of(str(name), parameters or {})


def _seeds(value: Any) -> list[int]:
    seeds = list(range(value)) if isinstance(value, int) else list(value)
    if not seeds or any(not isinstance(seed, int) or seed < 0 for seed in seeds):
        raise ValueError(f"seeds must be a number of seeds or a list of them, not {value!r}")
    return seeds


def _reference(entry: Any, names: list[str]) -> str:
    """Find the method to compare with: as asked, else the first EOS, else the last method."""
    if entry is None:
        found = [name for name in names if name.split()[0] == "eos"]
        return found[0] if found else names[-1]
    name = _with_parameters(*_method(entry))
    if name not in names:
        raise ValueError(f"reference {name!r} is not among the methods {', '.join(names)}")
    return name


def _known(given: Any, known: Mapping[str, Any] | set[str], what: str) -> Settings:
    if not isinstance(given, dict):
        raise ValueError(f"{what} must be a mapping, not {given!r}")
    for name in given:
        if name not in known:
            raise ValueError(f"unknown field {name!r} of {what}; it has {', '.join(sorted(known))}")
    return given


def _changed(settings: Settings, defaults: Settings) -> Settings:
    return {
        key: value
        for key, value in settings.items()
        if key not in defaults or value != defaults[key]
    }


def _with_parameters(name: str, parameters: Settings, leave_out: str = "") -> str:
    texts = [f"{key}={_text(value)}" for key, value in parameters.items() if key != leave_out]
    return " ".join([name, *texts])


def _text(value: Any) -> str:
    return "..".join(map(str, value)) if isinstance(value, list) else str(value)


def _file_stem(name: str, settings: Settings) -> str:
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9.=]+", "-", name).strip("-").lower()
    return f"{readable[:120]}-{digest}"
