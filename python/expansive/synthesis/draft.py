"""The checked input of a plan, before its partners are found."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive import arguments, arrays
from expansive.backends.registry import backend_for, get_backend
from expansive.neighbors import Index, thread_count
from expansive.synthesis import partners
from expansive.synthesis.partners import Classes, ClassPartners
from expansive.synthesis.plan_file import Contents

_NEARLY_ALL = 3  # draws a row: all but one row in twenty are then drawn


class Draft:
    """Which classes get how many rows, and from which rows of x; errors as `SynthesisPlan.eos`."""

    def __init__(
        self,
        x: Any,
        y: Any,
        sampling_strategy: Any,
        expansion: tuple[float, float],
        seed: int,
        backend: str | None,
        threads: int | None,
    ) -> None:
        self._expansion = arguments.as_expansion(expansion)
        self._seed = arguments.as_seed(seed)
        self._backend_name = backend
        self._backend = backend_for(x, backend)
        self._threads = thread_count(threads)
        self._x = arrays.as_rows(x, device=self._backend.TAKES_DEVICE_ARRAYS)
        self._labels = arrays.as_labels(y, len(self._x.data))
        classes, codes = self._labels
        _check_classes(classes)
        wanted = rows_per_class(sampling_strategy, classes[codes])
        self._sizes = {label: wanted[label] for label in classes.tolist() if wanted.get(label)}
        if (total := sum(self._sizes.values())) >= 2**63:
            raise ValueError(
                f"sampling_strategy asks for {total} rows; a plan has fewer than 2**63"
            )
        position = {label: code for code, label in enumerate(classes.tolist())}
        rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
        self.rows = {label: rows[position[label]] for label in self._sizes}
        self._classes = classes[[position[label] for label in self._sizes]]

    def index(self, searched: Classes, k: int, relation: str) -> Index:
        """Make the rows ready to search for some, which refuses rows that are not finite."""
        return Index(
            self._x,
            self._labels,
            backend=self._backend_name,
            threads=self._threads,
            expected_queries=max(1, sum(map(len, searched.values()))),
            expected_k=k,
            expected_relation=relation,
        )

    def require_finite(self) -> None:
        """Refuse rows that are not finite, where no search does."""
        found = self._backend.scan(self._x, self._threads)
        arrays.require_finite(self._x, *found)

    def finish(self, tables: list[ClassPartners]) -> Contents:
        """Join the tables of `rows`' classes, in that order."""
        joined = partners.join(tables, list(self._sizes.values()), self._seed, self._expansion)
        fingerprint = self._backend.fingerprint(self._x, self._threads)
        return Contents(joined, self._classes, self._x.shape, self._x.dtype, fingerprint)

    def among_all(self, tables: list[ClassPartners]) -> list[ClassPartners]:
        """Put the partners of the `drawn_rows` among all `rows`."""
        return [
            partners.among(table, rows)
            for table, rows in zip(tables, self.rows.values(), strict=True)
        ]

    def drawn_rows(self) -> Classes:
        """For each class the rows that a synthetic row has for its base; all, if nearly all.

        Where every row is a base they are known before any partner is: only they are searched.
        """
        everyone = partners.join(
            [partners.themselves(rows) for rows in self.rows.values()],
            list(self._sizes.values()),
            self._seed,
            self._expansion,
        )
        drawn = {}
        for label, rows, start in zip(
            self.rows, self.rows.values(), everyone.sample_start.tolist(), strict=False
        ):
            if self._sizes[label] < _NEARLY_ALL * len(rows):
                samples = range(start, start + self._sizes[label])
                base, _, _ = get_backend("cpu").draw(everyone, samples, np.float32)
                drawn[label] = np.unique(base)
            else:
                drawn[label] = rows
        return drawn


def _check_classes(classes: NDArray[Any]) -> None:
    if len(classes) == 1:
        raise ValueError(f"y holds one class only ({classes.tolist()[0]!r}); give at least two")
    if classes.dtype.kind != "f":
        return
    fractions = classes[classes != np.floor(classes)]
    if len(fractions):
        raise ValueError(
            f"y holds {fractions[0]}, which is no class; give whole numbers or strings, of a "
            "continuous y for example np.digitize(y, bins)"
        )


def rows_per_class(sampling_strategy: Any, labels: NDArray[Any]) -> dict[Any, int]:
    """How many synthetic rows each class gets, by imbalanced-learn's rules."""
    from imblearn.utils import check_sampling_strategy

    strategy = arguments.as_strategy(sampling_strategy, labels)
    wanted = check_sampling_strategy(strategy, labels, "over-sampling")
    return {
        label.item() if isinstance(label, np.generic) else label: int(count)
        for label, count in wanted.items()
    }
