"""Torch tensors in, tensors out, where they lie: on the CPU and, where there is one, on a GPU.

Without a GPU these run on the CPU alone, so that what a GPU is asked is known to be right; with one
also there, by every backend that takes its arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import expansive as ex
from cases import METRICS, MINIMUM_BUDGET, RELATIONS, assert_same_bits
from expansive import torch_ops
from expansive.backends.registry import get_backend
from expansive.train.embedding import home
from training import blobs, states, trainer

pytestmark = pytest.mark.train

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


class Place(NamedTuple):
    """A device, and a backend that works there."""

    device: str
    backend: str

    def __str__(self) -> str:
        return f"{self.device}-{self.backend}"

    def elsewhere(self) -> Any:
        """Work on a stream of its own, as a caller may."""
        return torch.cuda.stream(torch.cuda.Stream()) if self.device == "cuda" else nullcontext()


def places() -> Iterator[Place]:
    yield Place("cpu", "cpu")
    if torch.cuda.is_available():
        for backend in ("cuda", "triton"):
            get_backend(backend)  # one that cannot run on a GPU is a failure, not a case less
            yield Place("cuda", backend)


at_every_place = pytest.mark.parametrize("place", list(places()), ids=str)


def data(n: int = 400, d: int = 19, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Rows of four classes of very different sizes, with ties, in host memory."""
    generator = np.random.default_rng(0)
    x = torch.from_numpy(generator.normal(size=(n, d)).round(1)).to(dtype)
    return x, torch.from_numpy(generator.choice(4, n, p=[0.7, 0.2, 0.07, 0.03]))


def bits(x: Tensor) -> np.ndarray[Any, Any]:
    host = x.detach().cpu()
    return (host.view(torch.int16) if host.dtype == torch.bfloat16 else host).numpy()


def assert_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], device: str) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.device.type == device
        assert_same_bits(bits(mine), bits(theirs))


# ---- search -----------------------------------------------------------------------------------


@at_every_place
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("relation", RELATIONS)
def test_a_search(place: Place, dtype: torch.dtype, metric: str, relation: str) -> None:
    x, y = data(dtype=dtype)
    expected = ex.neighbors(x, y, 7, relation, metric=metric, backend="reference")
    there, labels = x.to(place.device), y.to(place.device)
    found = ex.neighbors(there, labels, 7, relation, metric=metric, backend=place.backend)
    assert_same(found, expected, place.device)


@at_every_place
@pytest.mark.parametrize(("n", "d", "k"), [(3000, 64, 10), (5000, 300, 100), (70, 3, 200)])
def test_many_rows_features_and_neighbors(place: Place, n: int, d: int, k: int) -> None:
    x, y = data(n, d)
    queries = np.arange(0, n, 101)
    expected = ex.nearest_enemies(x, y, k, queries, backend="reference")
    there = x.to(place.device)
    for budget in (None, MINIMUM_BUDGET):
        found = ex.nearest_enemies(
            there, y, k, queries, backend=place.backend, memory_budget=budget
        )
        assert_same(found, expected, place.device)


@at_every_place
def test_queries_there_and_on_the_host(place: Place) -> None:
    x, y = data()
    q, labels = x[:50] + 0.25, y[:50]
    expected = ex.Index(x, y, backend="reference").search(q, labels, 5)
    index = ex.Index(x.to(place.device), y, backend=place.backend)
    assert_same(index.search(q.to(place.device), labels, 5), expected, place.device)
    assert_same(index.search(q, labels, 5), expected, "cpu")
    index = ex.Index(x, y, backend=place.backend)
    assert_same(index.search(q.to(place.device), labels, 5), expected, place.device)
    assert_same(index.search_rows(k=3), ex.Index(x, y).search_rows(k=3), "cpu")


@at_every_place
def test_work_waits_for_what_the_callers_stream_still_makes(place: Place) -> None:
    x, y = data(2000, 64)
    expected = ex.nearest_enemies(x * 2.0, y, 5)
    plan = ex.SynthesisPlan.eos(x * 2.0, y)
    for _ in range(3):
        with place.elsewhere():
            there = x.to(place.device)
            late = there + (there @ there.T @ there) * 0.0 + there  # 2 x, after some work
            found = ex.nearest_enemies(late, y, 5, backend=place.backend)
            rows = ex.SynthesisPlan.eos(late, y, backend=place.backend).generate(late)
            index = ex.Index(late, y, backend=place.backend)
            assert_same(found, expected, place.device)
        if place.device == "cuda":
            torch.cuda.synchronize()
        assert_same(index.search_rows(k=5), expected, place.device)
        assert_same_bits(bits(rows), bits(plan.generate(x * 2.0)))


# ---- synthesis --------------------------------------------------------------------------------


@at_every_place
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["eos", "smote", "random"])
def test_a_plan(place: Place, dtype: torch.dtype, method: str) -> None:
    x, y = data(dtype=dtype)
    make = getattr(ex.SynthesisPlan, method)
    expected, there = make(x, y, seed=2**40, backend="reference"), x.to(place.device)
    plan = make(there, y.to(place.device), seed=2**40, backend=place.backend)
    for mine, theirs in zip(plan.recipe(), expected.recipe(), strict=True):
        assert_same_bits(mine, theirs)
    for out_dtype in DTYPES:
        rows = plan.generate(there, dtype=out_dtype)
        assert rows.device.type == place.device
        assert_same_bits(bits(rows), bits(expected.generate(x, dtype=out_dtype)))
    picked = [plan.n_samples - 1, 0, 3, 3]
    assert_same_bits(
        bits(plan.generate_rows(there, picked)), bits(expected.generate_rows(x, picked))
    )
    out = torch.empty(5, x.shape[1], dtype=dtype, device=place.device)
    assert plan.generate(there, 2, 7, out=out) is out
    assert_same_bits(bits(out), bits(expected.generate(x, 2, 7)))


@at_every_place
def test_other_rows_are_refused(place: Place) -> None:
    x, y = data()
    there = x.to(place.device)
    plan = ex.SynthesisPlan.eos(there, y, backend=place.backend)
    plan.generate(there, 0, 3)
    with pytest.raises(ValueError, match="not the"):
        plan.generate(there + 1.0, 0, 3)


@at_every_place
@pytest.mark.parametrize("dtype", DTYPES)
def test_interpolation_and_its_gradients(place: Place, dtype: torch.dtype) -> None:
    x, y = data(dtype=dtype)
    plan = ex.SynthesisPlan.eos(x, y)
    here, there = x.clone().requires_grad_(), x.to(place.device).requires_grad_()
    rows = torch_ops.generate(plan, there)
    assert rows.device.type == place.device
    assert_same_bits(bits(rows), bits(plan.generate(x)))
    rows.float().square().sum().backward()
    torch_ops.generate(plan, here).float().square().sum().backward()
    assert here.grad is not None
    assert there.grad is not None
    # Sums on a GPU are made in another order.
    torch.testing.assert_close(there.grad.cpu(), here.grad, rtol=0.02, atol=0.02)


@at_every_place
def test_operators_in_a_compiled_function(place: Place) -> None:
    x, y = data(60, 5)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def nearest(x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        return torch_ops.nearest(x * 1.0, codes, 3)

    found = nearest(x.to(place.device), y.to(place.device))
    assert_same(found, ex.nearest_enemies(x, y, 3), place.device)


# ---- training ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("_own_accelerator_state")
@at_every_place
def test_three_phases(place: Place) -> None:
    fitted = trainer(cpu=place.device == "cpu").fit(blobs())
    x, y = fitted.embeddings
    assert x.device.type == y.device.type == home(torch.device(place.device)).type == place.device
    assert fitted.plan is not None
    again = ex.SynthesisPlan.eos(x.cpu(), y.cpu(), k=3)
    assert_same_bits(bits(fitted.plan.generate(x)), bits(again.generate(x.cpu())))
    assert np.isfinite(fitted.evaluate(blobs((20, 20, 20), seed=1)).gap_after).all()
    assert all(value.isfinite().all() for value in states(fitted.model).values())
