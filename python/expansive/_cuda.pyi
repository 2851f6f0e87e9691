from typing import Any

from numpy.typing import NDArray

SCRATCH_BYTES: int

def find_problem() -> str: ...
def check_device(device: int) -> None: ...
def describe_device(device: int) -> str: ...
def total_memory(device: int) -> int: ...

class Memory:
    def __init__(self, device: int, bytes: int, stream: int) -> None: ...
    @property
    def address(self) -> int: ...

def upload(device: int, to: int, from_: NDArray[Any], stream: int) -> None: ...
def download(device: int, to: NDArray[Any], from_: int, stream: int) -> None: ...
def scan(
    device: int, x: int, n: int, d: int, dtype: str, scratch: int, stream: int
) -> tuple[int, float]: ...
def fingerprint(
    device: int, x: int, n: int, d: int, dtype: str, scratch: int, stream: int
) -> int: ...
def database_bytes(n: int, d: int, metric: str) -> int: ...
def workspace_bytes(n: int, q: int, d: int, k: int, budget: int) -> int: ...
def describe_tiles(
    n: int, q: int, d: int, k: int, multiprocessors: int = 132, budget: int = 1 << 30
) -> dict[str, int]: ...

class Database:
    def __init__(
        self,
        device: int,
        x: int,
        n: int,
        d: int,
        dtype: str,
        largest: float,
        order: int,
        metric: str,
        memory: int,
        stream: int,
    ) -> None: ...
    def search(
        self,
        *,
        queries: int,
        n: int,
        d: int,
        dtype: str,
        order: int,
        class_begin: int,
        class_end: int,
        own_rows: int,
        k: int,
        relation: str,
        squared: bool,
        budget: int,
        workspace: int,
        distance: int,
        index: int,
        wide: bool,
        stream: int,
    ) -> None: ...

class PartnerTables:
    def __init__(
        self,
        device: int,
        sample_start: int,
        base_start: int,
        n_classes: int,
        bases: int,
        partner_start: int,
        partners: int,
        seed: int,
        low: float,
        high: float,
    ) -> None: ...
    def synthesize(
        self,
        *,
        x: int,
        n: int,
        d: int,
        dtype: str,
        rows: int,
        first: int,
        out: int,
        count: int,
        out_dtype: str,
        labels: int,
        stream: int,
    ) -> None: ...
    def draw(
        self,
        *,
        rows: int,
        first: int,
        count: int,
        base: int,
        partner: int,
        weight: int,
        wide: bool,
        stream: int,
    ) -> None: ...
