"""The torch operators: bits, gradients, compilation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import expansive as ex
from expansive import torch_ops
from expansive.backends import reference

pytestmark = pytest.mark.train

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
OPS = torch.ops.expansive


def data(dtype: torch.dtype = torch.float32, n: int = 60, d: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) * 3
    return x.to(dtype), (torch.arange(n) % 5 == 0).long()


def drawn(m: int, n: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers with repetitions, and weights."""
    generator = torch.Generator().manual_seed(4)
    base = torch.randint(n, (m,), generator=generator)
    partner = torch.randint(n, (m,), generator=generator)
    return base, partner, torch.rand(m, generator=generator, dtype=torch.float64).to(dtype)


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def anywhere(x: Tensor, base: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    """Interpolate as on a device without a kernel of its own."""
    return torch_ops._interpolate._init_fn(x, base, partner, weight)


INTERPOLATIONS = {"kernel": torch_ops.interpolate, "anywhere": anywhere}


# ---- search -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("relation", ["enemy", "friend", "any"])
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
def test_nearest_is_the_search(dtype: torch.dtype, relation: str, metric: str) -> None:
    x, y = data(dtype)
    codes = None if relation == "any" else y
    found = torch_ops.nearest(x, codes, 4, relation, metric)
    expected = ex.neighbors(x, codes, 4, relation, metric=metric)
    assert found[0].dtype == wide(dtype)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs)


def test_nearest_looks_for_enemies_by_euclidean_distance_unless_told() -> None:
    x, y = data()
    expected = ex.neighbors(x, y, 3, "enemy", metric="euclidean")
    for mine, theirs in zip(torch_ops.nearest(x, y, 3), expected, strict=True):
        assert torch.equal(mine, theirs)


def test_nearest_carries_no_gradient() -> None:
    x, y = data()
    dist, idx = torch_ops.nearest(x.requires_grad_(), y, 3)
    assert not dist.requires_grad
    assert not idx.requires_grad


def test_nearest_refuses_what_the_search_refuses() -> None:
    x, y = data()
    with pytest.raises(ValueError, match="unknown relation"):
        torch_ops.nearest(x, y, 3, "foe")
    with pytest.raises(ValueError, match="needs labels"):
        torch_ops.nearest(x, None, 3)


# ---- interpolation ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("expansion", [(0.0, 1.0), (-0.3, 1.7)])
def test_interpolation_has_the_bits_of_the_plan(
    dtype: torch.dtype, expansion: tuple[float, float]
) -> None:
    x, y = data(dtype, n=400, d=13)
    plan = ex.SynthesisPlan.eos(x, y, expansion=expansion)
    assert plan.n_samples > 200
    assert torch.equal(torch_ops.generate(plan, x), plan.generate(x))
    assert torch.equal(torch_ops.generate(plan, x, 7, 31), plan.generate(x, 7, 31))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("interpolate", INTERPOLATIONS)
def test_interpolation_rounds_once(interpolate: str, dtype: torch.dtype) -> None:
    """Rows at the edge, where product and sum rounded one after the other give other bits."""
    generator = np.random.default_rng(0)
    scale = 2.0 ** generator.integers(-40, 40, (500, 8))
    x = torch.from_numpy(generator.normal(size=(500, 8)) * scale).to(dtype)
    base, partner, weight = drawn(3000, 500, dtype)
    start = x[base].numpy()
    fma: Any = reference.fma if dtype == torch.float64 else reference.fma32
    expected = fma(weight.numpy()[:, None], x[partner].numpy() - start, start)
    naive = start + weight.numpy()[:, None] * (x[partner].numpy() - start)
    assert not np.array_equal(naive, expected)
    found = INTERPOLATIONS[interpolate](x, base, partner, weight)
    assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("interpolate", INTERPOLATIONS)
def test_a_sum_next_to_a_tie_is_not_rounded_twice(interpolate: str) -> None:
    """The sum is 1 + 1.5 ulp - 2**-58: float64 makes it a tie, which float32 would round up."""
    base = 1 + 2.0**-23
    x = torch.tensor([[base], [base + (2**17 - 1) * 2.0**-23]])
    weight = torch.tensor([(2**17 + 1) * 2.0**-35])
    rows = INTERPOLATIONS[interpolate](x, torch.tensor([0]), torch.tensor([1]), weight)
    assert rows.item() == base


@pytest.mark.parametrize("interpolate", INTERPOLATIONS)
def test_a_sum_just_above_a_tie_is_rounded_up(interpolate: str) -> None:
    """The sum is 1 + ulp / 2 + 0.63 * 2**-52: odd in float64, and next to it lies the tie."""
    start, difference, weight = 1.0, 133153 * 2.0**-23, 16515011 * 2.0**-42
    x = torch.tensor([[start], [start + difference]])
    rows = INTERPOLATIONS[interpolate](
        x, torch.tensor([0]), torch.tensor([1]), torch.tensor([weight])
    )
    assert rows.item() == 1 + 2.0**-23
    factors = (np.array([value], np.float32) for value in (weight, difference, start))
    assert reference.fma32(*factors).tolist() == [1 + 2.0**-23]


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_arithmetic_has_the_bits_of_the_kernel(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, _ = data(dtype)
    given = drawn(50, 60, wide(dtype))
    whole = torch_ops.interpolate(x, *given)
    assert torch.equal(anywhere(x, *given), whole)
    for elements in (17, 3):  # of rows of five
        monkeypatch.setattr(torch_ops, "_SLICE", elements)
        assert torch.equal(anywhere(x, *given), whole)


@pytest.mark.parametrize("interpolate", INTERPOLATIONS)
def test_the_largest_numbers(interpolate: str) -> None:
    x = torch.tensor([[-1e305], [1e305]], dtype=torch.float64)
    ends, weight = torch.tensor([0, 1]), torch.tensor([0.25, 1.0], dtype=torch.float64)
    rows = INTERPOLATIONS[interpolate](x, ends, ends.flip(0), weight)
    assert rows.flatten().tolist() == [-5e304, -1e305]


@pytest.mark.parametrize("interpolate", INTERPOLATIONS)
def test_no_features(interpolate: str) -> None:
    ends, weight = torch.tensor([0, 1]), torch.zeros(2)
    assert INTERPOLATIONS[interpolate](torch.empty(3, 0), ends, ends, weight).shape == (2, 0)


@pytest.mark.parametrize("interpolate", INTERPOLATIONS)
def test_no_rows(interpolate: str) -> None:
    given = (entry[:0] for entry in drawn(1, 60, torch.float32))
    assert INTERPOLATIONS[interpolate](data()[0], *given).shape == (0, 5)


def test_the_kernel_has_as_many_threads_as_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch_ops.cpu, "interpolate", lambda *given: asked.append(given[-1]))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    torch_ops.interpolate(data()[0], *drawn(2, 60, torch.float32))
    assert asked == [3]


def test_rows_that_are_not_contiguous() -> None:
    x = torch.randn(5, 60).t()
    base, partner, weight = drawn(40, 60, torch.float32)
    expected = torch_ops.interpolate(
        x.contiguous(), base[::2].clone(), partner[::2].clone(), weight[::2].clone()
    )
    assert torch.equal(torch_ops.interpolate(x, base[::2], partner[::2], weight[::2]), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rows_not_asked_for_are_never_widened(dtype: torch.dtype) -> None:
    """A few rows of a large matrix: no float32 tensor of its size comes into being."""
    x = torch.zeros(1000, 64, dtype=dtype)
    given = drawn(10, 1000, torch.float32)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.dtype != dtype:
                largest = max(largest, result.numel())
            return result

    with Watch():
        rows = anywhere(x, *given)
    assert rows.dtype == dtype
    assert 0 < largest <= 10 * 64


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"x": torch.zeros(60, 5, dtype=torch.int64)}, TypeError, "x must be a matrix"),
        ({"x": torch.zeros(60)}, TypeError, "x must be a matrix"),
        ({"base": torch.zeros(3)}, TypeError, "base must be torch.int64"),
        ({"partner": torch.zeros(4, dtype=torch.int64)}, ValueError, r"partner has shape \[4\]"),
        ({"weight": torch.zeros(3, 1)}, ValueError, r"weight has shape \[3, 1\]"),
        ({"weight": torch.zeros(3).double()}, TypeError, "weight must be torch.float32"),
        ({"weight": torch.zeros(3, device="meta")}, ValueError, "weight lies on meta but x on cpu"),
        ({"base": torch.tensor([0, 1, 60])}, IndexError, "out of range"),
        ({"partner": torch.tensor([0, 1, -1])}, IndexError, "out of range"),
    ],
)
def test_bad_input(change: dict[str, Tensor], error: type[Exception], match: str) -> None:
    x, _ = data()
    base, partner, weight = drawn(3, 60, torch.float32)
    given = {"x": x, "base": base, "partner": partner, "weight": weight} | change
    with pytest.raises(error, match=match):
        torch_ops.interpolate(**given)


def test_a_plan_of_other_rows_is_refused_by_shape_alone() -> None:
    x, y = data()
    plan = ex.SynthesisPlan.eos(x, y)
    moved = x + 1
    with pytest.raises(ValueError, match="fingerprint"):
        plan.generate(moved)
    torch_ops.generate(plan, moved)
    with pytest.raises(ValueError, match=r"x has shape \(59, 5\)"):
        torch_ops.generate(plan, x[1:])
    with pytest.raises(ValueError, match=r"x has shape \(60, 4\)"):
        torch_ops.generate(plan, x[:, 1:])


# ---- gradients --------------------------------------------------------------------------------


def test_gradients() -> None:
    x, _ = data(torch.float64, n=6, d=3)
    base, partner, weight = drawn(9, 6)
    assert (base == partner).any()

    def rows(x: Tensor, weight: Tensor) -> Tensor:
        return torch_ops.interpolate(x, base, partner, weight)

    given = (x.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(rows, given)
    assert torch.autograd.gradgradcheck(rows, given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_of_narrow_rows_are_summed_wide(dtype: torch.dtype) -> None:
    """3000 shares of 1/3000 make one; in bfloat16 alone the sum would stand still long before."""
    x = torch.zeros(2, 3, dtype=dtype, requires_grad=True)
    base, partner = torch.zeros(3000, dtype=torch.int64), torch.ones(3000, dtype=torch.int64)
    rows = torch_ops.interpolate(x, base, partner, torch.full((3000,), 0.25))
    rows.backward(torch.full_like(rows, 1 / 3000))
    assert x.grad is not None
    assert x.grad.dtype == dtype
    torch.testing.assert_close(
        x.grad.float(), torch.tensor([[0.75] * 3, [0.25] * 3]), rtol=1e-2, atol=0
    )


def test_gradients_through_a_plan_reach_bases_and_partners() -> None:
    x, y = data()
    plan = ex.SynthesisPlan.eos(x, y, k=2)
    torch_ops.generate(plan, x.requires_grad_()).sum().backward()
    base, partner, weight = plan.recipe()
    expected = np.zeros(len(x))
    np.add.at(expected, base, 1 - weight)
    np.add.at(expected, partner, weight)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.tile(expected[:, None], 5), rtol=1e-5)


# ---- torch's own checks -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(dtype: torch.dtype) -> None:
    x, y = data(dtype)
    base, partner, weight = drawn(20, 60, torch.float32)
    torch.library.opcheck(OPS.nearest, (x, y, 3, "enemy", "euclidean"))
    torch.library.opcheck(OPS.nearest, (x, None, 3, "any", "cosine"))
    torch.library.opcheck(OPS.interpolate, (x, base, partner, weight))
    given = (x.clone().requires_grad_(), base, partner, weight.requires_grad_())
    torch.library.opcheck(OPS.interpolate, given)


def test_compiles_without_graph_breaks() -> None:
    x, y = data()
    layer = torch.nn.Linear(5, 5)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        embedding = layer(x)
        _, idx = torch_ops.nearest(embedding, y, 1)
        weight = torch.full((len(x),), 0.5)
        rows = torch_ops.interpolate(embedding, torch.arange(len(x)), idx[:, 0], weight)
        return rows.square().sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    loss(x, y).backward()
    expected = layer.weight.grad
    layer.weight.grad = None
    compiled(x, y).backward()
    torch.testing.assert_close(layer.weight.grad, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_leaves_the_operators_alone(dtype: torch.dtype) -> None:
    x, y = data(dtype)
    given = drawn(20, 60, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        rows = torch_ops.interpolate(x, *given)
        dist, _ = torch_ops.nearest(x, y, 2)
    assert rows.dtype == dtype
    assert torch.equal(rows, torch_ops.interpolate(x, *given))
    assert torch.equal(dist, torch_ops.nearest(x, y, 2)[0])


def test_the_operators_are_a_lazy_part_of_the_package() -> None:
    assert ex.torch_ops is torch_ops
