"""Phase-2 methods: each turns embeddings and labels into the rows that the head is trained on.

A method is a function ``(x, y, seed, **parameters) -> Rows``; its keyword parameters and their
defaults are what a study may set. Real rows and a plan of synthetic ones go to the same phase 3.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from expansive.exact_neighbors import ExactNeighbors
from expansive.synthesis import SynthesisPlan
from expansive.train.embedding import Embeddings
from expansive.train.expand import Plan

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """What phase 3 trains the head on.

    Attributes
    ----------
    real : Embeddings
        Rows that are kept, [n, d].
    plan : Plan
        Synthetic rows, made from `real.x`.
    reinit_head : bool
        Begin phase 3 with new weights of the head.
    generator_parameters : int
        Trained parameters of what made the rows; 0 without a generator.
    """

    real: Embeddings
    plan: Plan
    reinit_head: bool = False
    generator_parameters: int = 0


class GivenRows:
    """A plan whose synthetic rows exist already.

    Parameters
    ----------
    x : ndarray of float32, shape [m, d]
        Synthetic rows.
    y : ndarray of int64, shape [m]
        Their labels.
    """

    def __init__(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        self.x = torch.as_tensor(np.ascontiguousarray(x, dtype=np.float32))
        self.y = np.asarray(y, dtype=np.int64)

    @property
    def n_samples(self) -> int:
        """Number of synthetic rows."""
        return len(self.y)

    def labels(self, start: int, stop: int) -> Labels:
        """Labels of the rows [start, stop)."""
        return self.y[start:stop]

    def generate_rows(self, x: Any, rows: Any) -> Any:
        """Give the rows of the given numbers; `x` is not needed."""
        return self.x[torch.as_tensor(rows)]


Method = Callable[..., Rows]


def random(x: Floats, y: Labels, seed: int) -> Rows:
    """Random over-sampling: rows of small classes are repeated."""
    return _planned(x, y, SynthesisPlan.random(x, y, seed=seed))


def smote(x: Floats, y: Labels, seed: int, k: int = 5) -> Rows:
    """SMOTE (Chawla et al. 2002), imbalanced-learn's."""
    from imblearn.over_sampling import SMOTE

    return _resampled(SMOTE(k_neighbors=ExactNeighbors(k + 1), random_state=seed), x, y)


def borderline_smote(x: Floats, y: Labels, seed: int, k: int = 5, m: int = 10) -> Rows:
    """Borderline-SMOTE 1 (Han et al. 2005), imbalanced-learn's."""
    from imblearn.over_sampling import BorderlineSMOTE

    near, around = ExactNeighbors(k + 1), ExactNeighbors(m + 1)
    sampler = BorderlineSMOTE(k_neighbors=near, m_neighbors=around, random_state=seed)
    return _resampled(sampler, x, y)


def svm_smote(x: Floats, y: Labels, seed: int, k: int = 5, m: int = 10) -> Rows:
    """SVM-SMOTE (Nguyen et al. 2011), imbalanced-learn's."""
    from imblearn.over_sampling import SVMSMOTE

    near, around = ExactNeighbors(k + 1), ExactNeighbors(m + 1)
    return _resampled(SVMSMOTE(k_neighbors=near, m_neighbors=around, random_state=seed), x, y)


def adasyn(x: Floats, y: Labels, seed: int, k: int = 5) -> Rows:
    """ADASYN (He et al. 2008), imbalanced-learn's."""
    from imblearn.over_sampling import ADASYN

    return _resampled(ADASYN(n_neighbors=ExactNeighbors(k + 1), random_state=seed), x, y)


def mixup(x: Floats, y: Labels, seed: int, alpha: float = 1.0) -> Rows:
    """Mixup (Zhang et al. 2018, arXiv 1710.09412) of embeddings, as many rows as balance needs.

    The first parent is drawn from the class to fill, the second from all rows. The label is drawn
    from the mixed one, lambda to 1 - lambda, which has the same expected loss.
    """
    return _mixed(x, y, seed, alpha, np.inf, 0.0)


def remix(
    x: Floats, y: Labels, seed: int, alpha: float = 1.0, kappa: float = 3.0, tau: float = 0.5
) -> Rows:
    """Remix (Chou et al. 2020, arXiv 2007.03943) of embeddings.

    As `mixup`, but of two parents whose classes differ at least `kappa` times in size, the smaller
    class alone gives the label where the larger one's share of the mixture is below `tau`.
    """
    return _mixed(x, y, seed, alpha, kappa, tau)


def crt(x: Floats, y: Labels, seed: int) -> Rows:
    """Train a new head on classes drawn equally often (cRT, Kang et al. 2020, arXiv 1910.09217).

    As many rows as random over-sampling has, each class drawn with replacement.
    """
    rng = np.random.default_rng([seed, 3])
    classes, counts = np.unique(y, return_counts=True)
    drawn = [rng.choice(np.flatnonzero(y == label), counts.max()) for label in classes]
    chosen = np.concatenate(drawn)
    nothing = GivenRows(x[:0], y[:0])
    return Rows(_embeddings(x[chosen], y[chosen]), nothing, reinit_head=True)


def eos(
    x: Floats,
    y: Labels,
    seed: int,
    enemies: str = "nearest",
    k: int = 10,
    expansion: tuple[float, float] = (0.0, 1.0),
    reference_compat: bool = False,
) -> Rows:
    """Expansive Over-Sampling (Dablain et al. 2022, arXiv 2207.06080); see `SynthesisPlan.eos`."""
    plan = SynthesisPlan.eos(
        x,
        y,
        k=k,
        enemies=enemies,
        expansion=(expansion[0], expansion[1]),
        seed=seed,
        reference_compat=reference_compat,
        threads=torch.get_num_threads(),
    )
    return _planned(x, y, plan)


METHODS: dict[str, Method] = {
    "random": random,
    "smote": smote,
    "borderline_smote": borderline_smote,
    "svm_smote": svm_smote,
    "adasyn": adasyn,
    "mixup": mixup,
    "remix": remix,
    "crt": crt,
    "eos": eos,
}
"""Methods that make rows for phase 3."""


Weights = dict[str, Floats]


def no_change(weights: Weights) -> Weights:
    """Keep the head of phase 1."""
    return weights


def tau_norm(weights: Weights, tau: float = 1.0) -> Weights:
    """Divide each class's weights by their norm to the power `tau` (Kang et al. 2020, section 4).

    Parameters
    ----------
    weights : dict of str to ndarray of float32
        ``"weight"`` [n_classes, d] and, where the head has one, ``"bias"`` [n_classes]. As in the
        paper the bias is left out: beside shorter weights it would count more than before.
    tau : float
        0 leaves the weights as they are, 1 makes all norms equal.
    """
    weight = weights["weight"]
    norms = np.linalg.norm(weight, axis=1, keepdims=True)
    scaled = weight / np.maximum(norms, np.finfo(np.float32).tiny) ** tau
    return {name: np.zeros_like(value) for name, value in weights.items()} | {"weight": scaled}


HEAD_RULES: dict[str, Callable[..., Weights]] = {"none": no_change, "tau_norm": tau_norm}
"""Methods that change the head's weights without rows and without phase 3."""


REVISIONS = {"tau_norm": 2}
"""Part of the key of a method that has changed since results of it may exist."""


def defaults_of(name: str) -> dict[str, Any]:
    """Give the parameters of a method of `METHODS` or `HEAD_RULES` with their defaults."""
    signature = inspect.signature((METHODS | HEAD_RULES)[name])
    return {
        key: given.default
        for key, given in signature.parameters.items()
        if given.default is not inspect.Parameter.empty
    }


def eos_settings(parameters: Mapping[str, Any]) -> tuple[str, int, str]:
    """Give what EOS draws from, defaults filled in: enemies, k, and the range of weights as text.

    Enemies are ``"nearest"``, ``"neighborhood"`` or, as the published code finds them,
    ``"reference code"``.
    """
    chosen = defaults_of("eos") | dict(parameters)
    low, high = chosen["expansion"]
    enemies = "reference code" if chosen["reference_compat"] else chosen["enemies"]
    return enemies, chosen["k"], f"{low:g} to {high:g}"


def purpose_of(name: str) -> str:
    """Say what a method does: the first line of its docstring."""
    text = inspect.getdoc((METHODS | HEAD_RULES)[name]) or ""
    return text.partition("\n")[0].replace("`", "")


def parameters_of(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Check the parameters of a method and leave out those that are as by default.

    Parameters
    ----------
    name : str
        A key of `METHODS` or `HEAD_RULES`.
    parameters : mapping
        What a study sets.

    Raises
    ------
    ValueError
        For an unknown name or parameter; lists the choices.
    """
    known = METHODS | HEAD_RULES
    if name not in known:
        raise ValueError(f"unknown method {name!r}; choose one of {', '.join(known)}")
    defaults = defaults_of(name)
    for key in parameters:
        if key not in defaults:
            choices = ", ".join(defaults) or "none"
            raise ValueError(f"method {name!r} has no parameter {key!r}; it has {choices}")
    given = {key: _like(parameters[key], of) for key, of in defaults.items() if key in parameters}
    return {key: value for key, value in given.items() if value != _like(defaults[key], value)}


def _like(value: Any, default: Any) -> Any:
    """Give a value the type of the default, so that 1 and 1.0 are one setting; tuples as lists."""
    if isinstance(default, tuple | list):
        return [float(number) for number in value]
    return type(default)(value)


def make_rows(name: str, x: Floats, y: Labels, parameters: Mapping[str, Any], seed: int) -> Rows:
    """Run a method of `METHODS`.

    Parameters
    ----------
    name : str
    x : ndarray of float32, shape [n, d]
        Embeddings of the training rows.
    y : ndarray of int64, shape [n]
        Their labels.
    parameters : mapping
        Checked by `parameters_of`.
    seed : int

    Returns
    -------
    Rows

    Raises
    ------
    ValueError
        When the method cannot make rows from these embeddings.
    """
    return METHODS[name](x, y, seed, **parameters)


def _embeddings(x: Floats, y: Labels) -> Embeddings:
    return Embeddings(torch.as_tensor(x), torch.as_tensor(y))


def _planned(x: Floats, y: Labels, plan: SynthesisPlan) -> Rows:
    return Rows(_embeddings(x, y), plan)


def _resampled(sampler: Any, x: Floats, y: Labels) -> Rows:
    """Run a sampler of imbalanced-learn, which gives the rows it was given first."""
    made_x, made_y = sampler.fit_resample(x, y)
    return Rows(_embeddings(x, y), GivenRows(made_x[len(x) :], made_y[len(y) :]))


def _mixed(x: Floats, y: Labels, seed: int, alpha: float, kappa: float, tau: float) -> Rows:
    rng = np.random.default_rng([seed, 4])
    counts = np.bincount(y)
    filled = [
        rng.choice(np.flatnonzero(y == label), counts.max() - count)
        for label, count in enumerate(counts)
        if count
    ]
    first = np.concatenate(filled)
    second = rng.integers(len(y), size=len(first))
    share = rng.beta(alpha, alpha, len(first))
    ratio = counts[y[first]] / counts[y[second]]
    share_y = np.where((ratio >= kappa) & (share < tau), 0.0, share)
    share_y = np.where((ratio <= 1 / kappa) & (1 - share < tau), 1.0, share_y)
    labels = np.where(rng.random(len(first)) < share_y, y[first], y[second])
    weight = share[:, None].astype(np.float32)
    return Rows(_embeddings(x, y), GivenRows(weight * x[first] + (1 - weight) * x[second], labels))
