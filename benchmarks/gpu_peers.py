"""Exact and nearly exact searches on a GPU that people use today, and what limits them."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import expansive as ex
from expansive.backends import registry

Search = Callable[[Tensor, Tensor, int], Any]
"""Rows, queries and k to row numbers [queries, k]; ours to distances and row numbers."""

_BLOCK_ELEMENTS = 1 << 31  # of a block of products


def expansive(backend: str, x: Tensor, q: Tensor, k: int) -> Any:
    return ex.Index(x, backend=backend).search(q, k=k, relation="any")


def _scores_topk(q: Tensor, rows: Tensor, half_norms: Tensor, k: int) -> Tensor:
    return torch.topk(q @ rows.T - half_norms, k, dim=1).indices


def matmul_topk(
    dtype: torch.dtype, tf32: bool, compiled: bool, x: Tensor, q: Tensor, k: int
) -> Any:
    """Products, half norms and torch.topk, by blocks of queries."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        step = _compiled_step() if compiled else _scores_topk
        half_norms = (0.5 * x.float().square().sum(dim=1)).to(dtype)
        rows, block = x.to(dtype), max(1, _BLOCK_ELEMENTS // len(x))
        return torch.cat([step(part.to(dtype), rows, half_norms, k) for part in q.split(block)])
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _compiled_step() -> Any:
    return torch.compile(_scores_topk, dynamic=False)


def keops(x: Tensor, q: Tensor, k: int) -> Tensor:
    from pykeops.torch import LazyTensor  # type: ignore[import-not-found]

    points, rows = LazyTensor(q[:, None, :].contiguous()), LazyTensor(x[None, :, :].contiguous())
    found: Tensor = ((points - rows) ** 2).sum(-1).argKmin(k, dim=1)
    return found


def faiss_gpu(x: Tensor, q: Tensor, k: int) -> Tensor:
    import faiss
    import faiss.contrib.torch_utils

    found: Tensor = faiss.knn_gpu(_faiss_resources(), q, x, k)[1]
    return found


@functools.cache
def _faiss_resources() -> Any:
    import faiss

    return faiss.StandardGpuResources()


def cuvs(x: Tensor, q: Tensor, k: int) -> Tensor:
    from cuvs.neighbors import brute_force  # type: ignore[import-not-found]

    index = brute_force.build(x, metric="sqeuclidean")
    return torch.as_tensor(brute_force.search(index, q, k)[1], device=x.device)


def bare_product(x: Tensor, q: Tensor, k: int) -> Tensor:
    """Form the bfloat16 matrix product of the same shape, and forget it: a limit, not a search."""
    rows = x.bfloat16()
    block = max(1, _BLOCK_ELEMENTS // len(x))
    parts = q.bfloat16().split(block)
    out = torch.empty(len(parts[0]), len(x), dtype=torch.bfloat16, device=x.device)
    for part in parts:
        torch.mm(part, rows.T, out=out[: len(part)])
    return out


LIMIT = "bare bf16 torch.mm"

_PEERS: tuple[tuple[str, str, Callable[[Tensor, Tensor, int], Tensor]], ...] = (
    ("cuVS brute force", "cuvs", cuvs),
    ("FAISS GPU flat", "faiss", faiss_gpu),
    ("KeOps", "pykeops", keops),
)


def searches(device: torch.device) -> dict[str, Search]:
    """Contestants that can run here, for one case."""
    float32, bfloat16 = torch.float32, torch.bfloat16
    wanted = ("cuda", "triton") if device.type == "cuda" else ("cpu",)
    available = {name for name, runs, _ in registry.describe() if runs}
    found: dict[str, Search] = {
        f"expansive {backend}": partial(expansive, backend)
        for backend in wanted
        if backend in available
    }
    found |= {
        "torch float32 + topk": partial(matmul_topk, float32, False, False),
        "torch tf32 + topk": partial(matmul_topk, float32, True, False),
        "torch bf16 + topk": partial(matmul_topk, bfloat16, False, False),
    }
    if device.type == "cuda":
        torch.compiler.reset()  # shapes of earlier cases count against its limit; then it gives up
        found["torch.compile tf32 + topk"] = partial(matmul_topk, float32, True, True)
        found["torch.compile bf16 + topk"] = partial(matmul_topk, bfloat16, False, True)
        found |= {name: search for name, module, search in _PEERS if not _obstacle(module)}
    found[LIMIT] = bare_product
    return found


def missing(device: torch.device) -> dict[str, str]:
    """Contestants that cannot run here, and why."""
    if device.type != "cuda":
        return {}
    reasons = {
        f"expansive {name}": reason
        for name, runs, reason in registry.describe()
        if name in ("cuda", "triton") and not runs
    }
    return reasons | {name: _obstacle(module) for name, module, _ in _PEERS if _obstacle(module)}


@functools.cache
def _obstacle(module: str) -> str:
    """Why a library cannot search here; nothing if it can. It tries in a process of its own."""
    if importlib.util.find_spec(module) is None:
        return "not installed"
    (search,) = (search.__name__ for _, name, search in _PEERS if name == module)
    rows = "torch.rand(99, 8, device='cuda')"
    code = f"import gpu_peers, torch; gpu_peers.{search}({rows}, {rows}, 3)"
    trial, folder = [sys.executable, "-c", code], Path(__file__).parent
    try:
        subprocess.run(trial, cwd=folder, check=True, capture_output=True, timeout=90)
    except subprocess.SubprocessError as error:
        return f"a small search failed: {error}".replace(str(trial), "it")
    return ""
