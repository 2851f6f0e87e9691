"""From YAML to a study, every field checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from expansive.arguments import as_choice
from expansive.datasets.sources import has_fashion_mnist
from expansive.extras import import_extra
from expansive.study.methods import parameters_of
from expansive.study.plan import BACKBONE, DATA, Settings, Study, with_parameters
from expansive.train.losses import LOSSES
from expansive.train.models import check_name

PRESETS = ("quick", "unaugmented", "losses", "paper")

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


def read_preset(name: str) -> Study:
    """Read a study that comes with the package, one of `PRESETS`.

    ``"quick"`` takes scikit-learn's digits where the files of Fashion-MNIST are missing.
    """
    as_choice(name, PRESETS, "preset")
    if name == "quick" and not has_fashion_mnist():
        name = "quick-digits"
    file = resources.files("expansive.study").joinpath("presets").joinpath(f"{name}.yaml")
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
    names = [with_parameters(*method) for method in methods]
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
    as_choice(made["tail"], ("exponential", "step"), "tail")
    return made


def _backbone(entry: Any) -> Settings:
    given = {"name": entry} if isinstance(entry, str) else dict(entry)
    if not given.get("name"):
        raise ValueError(f"a backbone needs a name in {entry!r}")
    made: Settings = BACKBONE | _known(given, {"name", *BACKBONE}, "a backbone")
    check_name(made["name"], width=made["width"])
    return made


def _loss(name: Any) -> str:
    return as_choice(name, LOSSES, "loss")


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
    name = with_parameters(*_method(entry))
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
