"""Search and interpolation as torch operators: for ``torch.compile``, autograd and AMP.

``expansive::nearest`` and ``expansive::interpolate`` have fake kernels, so ``torch.compile`` keeps
them in its graph. `interpolate` is differentiable, any number of times; it is what makes
synthetic rows part of a network's graph.

On the CPU the interpolation is the compiled kernel of `SynthesisPlan.generate`. On other devices it
is written with torch's own arithmetic, with the same bits from float64 products and a sum rounded
to odd: some twenty passes over the rows instead of one, so without gradients `generate` of the
plan is the faster way there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expansive.extras import import_extra

import_extra("torch", "train")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from expansive.arrays import DTYPES, as_rows  # noqa: E402
from expansive.backends import cpu  # noqa: E402
from expansive.backends.reference import two_product, two_sum  # noqa: E402
from expansive.neighbors import neighbors  # noqa: E402

if TYPE_CHECKING:
    from expansive.synthesis import SynthesisPlan

__all__ = ["generate", "interpolate", "nearest", "recipe"]

_WAITS: dict[str, Any] = (
    {"tags": (torch.Tag.cudagraph_unsafe,)} if hasattr(torch.Tag, "cudagraph_unsafe") else {}
)
"""For operators that wait for the device, which no graph may: torch leaves them out of its own."""

_SLICE = 1 << 22  # elements interpolated at a time, which bounds the scratch memory


def nearest(
    x: Tensor,
    codes: Tensor | None,
    k: int,
    relation: str = "enemy",
    metric: str = "euclidean",
) -> tuple[Tensor, Tensor]:
    """Find the k nearest other rows in a label relation, for every row of x.

    Parameters
    ----------
    x : Tensor, shape [n, d]
        float16, bfloat16, float32 or float64, taken as it is, on its device.
    codes : Tensor of int64, shape [n], or None
        Class of each row; None is allowed for relation "any".
    k : int
        Neighbours for each row.
    relation : {"enemy", "friend", "any"}
        Rows of another class, of the same class, or all rows; never the row itself.
    metric : {"euclidean", "sqeuclidean", "cosine"}
        As in `Index`.

    Returns
    -------
    dist : Tensor, shape [n, k]
        Ascending, float32 (float64 for float64 rows); infinity where fewer than k qualify. It
        carries no gradient: form the distance again from the rows of `idx` where one is needed.
    idx : Tensor of int64, shape [n, k]
        Row numbers; -1 where fewer than k qualify.

    Raises
    ------
    ValueError, TypeError
        As `neighbors`.

    Notes
    -----
    Exact and bit-identical on every backend, also under autocast, which leaves it alone. Codes are
    copied to the host.
    """
    found: tuple[Tensor, Tensor] = torch.ops.expansive.nearest(
        x.detach(), codes, k, relation, metric
    )
    return found


def interpolate(x: Tensor, base: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    """Make rows ``fma(weight, x[partner] - x[base], x[base])``, differentiable.

    Parameters
    ----------
    x : Tensor, shape [n, d]
        float16, bfloat16, float32 or float64.
    base, partner : Tensor of int64, shape [m]
        Row numbers in x, on its device.
    weight : Tensor, shape [m]
        float32, or float64 for float64 rows, on the device of x.

    Returns
    -------
    Tensor, shape [m, d]
        Of x's dtype. Formed in float32 (float64 for float64 rows) and then rounded; only the rows
        that are asked for are widened. Autocast leaves it alone.

    Raises
    ------
    ValueError, TypeError
        For shapes, dtypes or devices that do not fit.
    IndexError
        For row numbers out of range (on a GPU torch's device-side assertion).

    Notes
    -----
    Gradients: ``1 - weight`` to the base's row and ``weight`` to the partner's, summed in float32
    (float64) and rounded once to x's dtype; to `weight` the inner product with the difference.
    Sums are deterministic on the CPU, and on a GPU with `torch.use_deterministic_algorithms`.

    The bits are those of a fused multiply-add, except in float64 away from the CPU where the
    product is below 2**-960 or a difference above 2**990, whose rounding errors float64 cannot
    hold: there the last bit may differ.
    """
    rows: Tensor = torch.ops.expansive.interpolate(x, base, partner, weight)
    return rows


def recipe(
    plan: SynthesisPlan, x: Tensor, start: int = 0, stop: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Give base, partner and weight of the rows [start, stop) as `interpolate` takes them with x.

    Raises
    ------
    ValueError
        When x has not the shape of the plan's data.
    IndexError
        When the slice is not within the plan.
    """
    if tuple(x.shape) != plan.shape:
        raise ValueError(
            f"x has shape {tuple(x.shape)} but this plan was made from rows of shape {plan.shape}; "
            "pass as many rows and features"
        )
    base, partner, weight = plan.recipe(start, stop)
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    return (
        torch.from_numpy(base).to(x.device),
        torch.from_numpy(partner).to(x.device),
        torch.from_numpy(weight).to(x.device, wide),
    )


def generate(plan: SynthesisPlan, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
    """Make the synthetic rows [start, stop) of a plan as a differentiable function of x.

    Parameters
    ----------
    plan : SynthesisPlan
        Says which rows are combined, and how.
    x : Tensor, shape of the plan's data
        Embeddings. They may have moved on since the plan was made, as they do in training: unlike
        `SynthesisPlan.generate` this does not ask for the very same values.
    start, stop : int
        Slice of the synthetic set; stop=None means its end.

    Returns
    -------
    Tensor, shape [stop - start, d]
        Of x's dtype on its device, with gradients to x; for the plan's own data the same bits as
        `SynthesisPlan.generate`.

    Raises
    ------
    ValueError, IndexError
        As `recipe`.
    """
    return interpolate(x, *recipe(plan, x, start, stop))


# ---- expansive::nearest -----------------------------------------------------------------------


@torch.library.custom_op(
    "expansive::nearest",
    mutates_args=(),
    schema="(Tensor x, Tensor? codes, int k, str relation, str metric) -> (Tensor, Tensor)",
    **_WAITS,
)
def _nearest(
    x: Tensor, codes: Tensor | None, k: int, relation: str, metric: str
) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = neighbors(x, codes, k, relation, metric=metric)
    return found


@_nearest.register_fake
def _(x: Tensor, codes: Tensor | None, k: int, relation: str, metric: str) -> tuple[Tensor, Tensor]:
    shape = (x.shape[0], k)
    return x.new_empty(shape, dtype=_wide(x.dtype)), x.new_empty(shape, dtype=torch.int64)


# ---- expansive::interpolate -------------------------------------------------------------------


@torch.library.custom_op(
    "expansive::interpolate",
    mutates_args=(),
    schema="(Tensor x, Tensor base, Tensor partner, Tensor weight) -> Tensor",
)
def _interpolate(x: Tensor, base: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    _check(x, base, partner, weight)
    out = x.new_empty(len(base), x.shape[1])
    step = max(1, _SLICE // max(1, x.shape[1]))
    for i in range(0, len(base), step):
        here = slice(i, i + step)
        out[here] = _rows(x, base[here], partner[here], weight[here])
    return out


@_interpolate.register_kernel("cpu")
def _(x: Tensor, base: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    _check(x, base, partner, weight)
    out = x.new_empty(base.shape[0], x.shape[1])
    if out.numel():
        cpu.interpolate(
            as_rows(x),
            base.numpy(),
            partner.numpy(),
            weight.double().numpy(),
            as_rows(out, "out"),
            torch.get_num_threads(),
        )
    return out


@_interpolate.register_fake
def _(x: Tensor, base: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    _check(x, base, partner, weight)
    return x.new_empty(base.shape[0], x.shape[1])


def _rows(x: Tensor, base: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    wide = _wide(x.dtype)
    start = x.index_select(0, base).to(wide)
    difference = x.index_select(0, partner).to(wide).sub_(start)
    fused = _fma64 if wide == torch.float64 else _fma32
    return fused(weight[:, None], difference, start)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, Tensor | None]:
    x, base, partner, weight = ctx.saved_tensors
    gradient = gradient.to(_wide(x.dtype))
    to_x = to_weight = None
    if ctx.needs_input_grad[0]:
        share = weight[:, None] * gradient
        sums = torch.zeros_like(x, dtype=gradient.dtype)
        to_x = sums.index_add(0, base, gradient - share).index_add(0, partner, share).to(x.dtype)
    if ctx.needs_input_grad[3]:
        start = x.index_select(0, base).to(gradient.dtype)
        difference = x.index_select(0, partner).to(gradient.dtype) - start
        to_weight = (gradient * difference).sum(dim=1)
    return to_x, None, None, to_weight


_interpolate.register_autograd(_gradients, setup_context=_keep)


def _check(x: Tensor, base: Tensor, partner: Tensor, weight: Tensor) -> None:
    if x.ndim != 2 or str(x.dtype).removeprefix("torch.") not in DTYPES:
        raise TypeError(
            f"x must be a matrix of {', '.join(DTYPES)}; got {x.dtype} of shape {list(x.shape)}"
        )
    for name, given, dtype in (
        ("base", base, torch.int64),
        ("partner", partner, torch.int64),
        ("weight", weight, _wide(x.dtype)),
    ):
        if given.ndim != 1 or given.shape[0] != base.shape[0]:
            raise ValueError(
                f"{name} has shape {list(given.shape)}; base, partner and weight must be of one "
                "and the same length [m]"
            )
        if given.dtype != dtype:
            raise TypeError(f"{name} must be {dtype} for x of {x.dtype}, not {given.dtype}")
        if given.device != x.device:
            raise ValueError(f"{name} lies on {given.device} but x on {x.device}; bring it there")


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


# ---- exact arithmetic -------------------------------------------------------------------------
# Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using
# rounding to odd", IEEE Trans. Computers 57(4), 2008; as in backends/reference.py, on any device.


def _fma32(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Fused multiply-add in float32: the product is exact in float64, the sum rounds to odd."""
    return _add_to_odd(a.double() * b.double(), c.double()).float()


def _fma64(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Fused multiply-add in float64, exact from products of 2**-960 to factors of 2**990."""
    product, product_error = two_product(a, b)
    low_sum, low_error = two_sum(c, product_error)
    high, middle = two_sum(product, low_sum)
    result: Tensor = high + _add_to_odd(middle, low_error)
    return torch.where(torch.isfinite(result), result, a * b + c)


def _add_to_odd(a: Tensor, b: Tensor) -> Tensor:
    """Give a + b; an inexact result takes the neighbour whose last bit is 1."""
    total, error = two_sum(a, b)
    even = (total.view(torch.int64) & 1) == 0
    towards = torch.copysign(torch.full_like(error, torch.inf), error)
    return torch.where((error != 0) & even, torch.nextafter(total, towards), total)
