from typing import Any

import numpy as np
from numpy.typing import NDArray

class Index:
    def __init__(
        self,
        x: NDArray[Any],
        dtype: str,
        largest: float,
        codes: NDArray[np.int64] | None,
        n_classes: int,
        metric: str,
        basis: NDArray[np.float32] | None,
        expected_queries: int,
        expected_k: int,
        expected_relation: str,
        threads: int,
        memory_budget: int,
    ) -> None: ...
    @property
    def isa(self) -> str: ...
    def search(
        self,
        queries: NDArray[Any],
        dtype: str,
        codes: NDArray[np.int64] | None,
        own_rows: NDArray[np.int64] | None,
        k: int,
        relation: str,
        threads: int,
        memory_budget: int,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]: ...

class PartnerTables:
    def __init__(
        self,
        sample_start: NDArray[np.int64],
        base_start: NDArray[np.int64],
        bases: NDArray[np.int64],
        partner_start: NDArray[np.int64],
        partners: NDArray[np.int64],
        seed: int,
        low: float,
        high: float,
    ) -> None: ...
    def draw(
        self, rows: NDArray[np.int64] | None, first: int, count: int, wide: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]: ...
    def synthesize(
        self,
        x: NDArray[Any],
        dtype: str,
        rows: NDArray[np.int64] | None,
        first: int,
        out: NDArray[Any],
        out_dtype: str,
        threads: int,
    ) -> None: ...

def multiply(
    a: NDArray[np.float32], b: NDArray[np.float32], threads: int
) -> NDArray[np.float32]: ...
def interpolate(
    x: NDArray[Any],
    dtype: str,
    base: NDArray[np.int64],
    partner: NDArray[np.int64],
    weight: NDArray[np.float64],
    out: NDArray[Any],
    out_dtype: str,
    threads: int,
) -> None: ...
def scan(x: NDArray[Any], dtype: str, threads: int) -> tuple[int, float]: ...
def fingerprint(x: NDArray[Any], dtype: str, threads: int) -> int: ...
def isa() -> str: ...
def isa_names() -> list[str]: ...
