"""The Triton screen's space, and the bounds that make its verdict certain.

Notation and first steps are those of docs/exactness.md. The image of a row is
x' = bfloat16((x - c)*s), e(x) is above its error, and by (2) there

    |a' - b'|  <=  s*D(a, b) + e(a) + e(b).                                                      (i)

The screen computes P, the product of two images, by matrix instructions. Products of bfloat16 are
exact, but their additions are not IEEE: an instruction aligns its terms and the accumulator to the
largest exponent, cuts them off at its 24 bits, and cuts off the sum (Fasi, Higham, Mikaitis and
Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 7:e330, 2021): at most
2**-23 of the sum of magnitudes for each. Instructions take some terms at a time; even if it were
only one, that made three such errors for each of the image's `length` terms. Hence P is within

    g/2 * (|a'|**2 + |b'|**2) + t,        g = m*u/(1 - m*u),  m = 6*length + 16,  u = 2**-24

of the real product; t is for what underflows, and the 16 cover the rounding of h - P below and the
additions of IEEE hardware or of the interpreter, which are far within. With any h not above
(1 - g)/2 * |b'|**2,

    |a' - b'|**2 / 2  >=  (1 - g)/2 * |a'|**2 - t + fl(h - P).                                  (ii)

Only the last term depends on the row, so its minimum over a tile bounds the whole tile. The kernel
takes the root and subtracts e(a) and the largest e(b) of the tile, rounding down: by (i) a lower
bound of s*D for all of the tile. By (1) there, a row whose computed squared distance is at most T
has s*D <= `Space.reach(T)`, so a tile with a bound beyond that holds none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from expansive.backends.triton_arrays import tiles
from expansive.backends.triton_neighbor_kernels import images_kernel

UP = 1.0 + 2.0**-32  # rounds a short float64 computation up, DOWN down; at most 2**20 terms
DOWN = 1.0 - 2.0**-32
MOST_FEATURES = 1 << 20
_TOO_FAR = 2.0**100  # squared norm of an image whose products might overflow float32
_SAMPLE = 1024  # rows whose median is the centre


@dataclass(frozen=True)
class Space:
    """Where images lie.

    Attributes
    ----------
    centre : Tensor of float64, shape [d]
        What rows are moved by.
    scale : float
        A power of two, after which the database's coordinates are within [-1, 1].
    step : int
        Features of one step of the screen's product; images are padded to whole steps.
    """

    centre: Tensor
    scale: float
    step: int

    @property
    def length(self) -> int:
        """Features of an image, with the padding."""
        return -(-len(self.centre) // self.step) * self.step

    @property
    def gamma(self) -> float:
        """Give g, the relative error of the screen's products."""
        roundings = (6.0 * self.length + 16.0) * 2.0**-24
        return roundings / (1.0 - roundings) * UP

    def reach(self, squared_distance: Tensor) -> Tensor:
        """Above s*D of every row whose computed squared distance is not above the given one."""
        underflow = (len(self.centre) + 8.0) * 2.0**-1073
        return (squared_distance * UP + underflow).sqrt() * (self.scale * UP)


@dataclass(frozen=True)
class Images:
    """Images of rows, padded to whole blocks.

    Attributes
    ----------
    values : Tensor of bfloat16, shape [n_padded, length]
        Zero in the padding.
    half_norm : Tensor of float32, shape [n_padded]
        Not above (1 - g)/2 of the squared norm, less t for queries; infinite in the padding, so
        that no padded row is ever near.
    error : Tensor of float32, shape [n_padded]
        Above the distance between image and place; infinite where nothing is certain.
    """

    values: Tensor
    half_norm: Tensor
    error: Tensor


def make_space(rows: Tensor, largest: float, row_scales: Tensor, step: int) -> Space:
    """Choose centre and scale for a database; `row_scales` holds reciprocal norms, or nothing.

    Raises
    ------
    ValueError
        For more than 2**20 features, which the rounding factors do not cover.
    """
    n, d = rows.shape
    if d > MOST_FEATURES:
        raise ValueError(f"x has {d} features; at most {MOST_FEATURES} are supported")
    steps = min(n, _SAMPLE)
    # In float64: the last row's number would be rounded up to n.
    picked = torch.linspace(0, n - 1, steps, dtype=torch.float64, device=rows.device).long()
    # The median by sorting: torch's own is refused under torch.use_deterministic_algorithms.
    centre = _take(rows, row_scales, picked).sort(dim=0).values[(len(picked) - 1) // 2]
    if len(row_scales):
        return Space(centre, 0.5, step)
    exponent = min(-math.frexp(largest)[1] - 1, 1000) if largest > 0 else 0
    return Space(centre, 2.0**exponent, step)


def make_images(
    rows: Tensor, row_scales: Tensor, space: Space, order: Tensor, padded: int
) -> Images:
    """Make the images of rows in the given order."""
    n, d = len(order), rows.shape[1]
    values = torch.zeros((padded, space.length), dtype=torch.bfloat16, device=rows.device)
    squared, missed = torch.empty((2, n), dtype=torch.float64, device=rows.device)
    elements = tiles().elements
    features = min(triton.next_power_of_2(d), elements)
    count = elements // features
    images_kernel[(triton.cdiv(n, count),)](
        rows,
        row_scales,
        order,
        space.centre,
        torch.full((1,), space.scale, dtype=torch.float64, device=rows.device),
        values.view(torch.int16),
        squared,
        missed,
        n,
        d,
        space.length,
        COSINE=len(row_scales) > 0,
        TOO_FAR=_TOO_FAR,
        ROWS=count,
        FEATURES=features,
        enable_fp_fusion=False,
    )
    missed = missed.sqrt()
    above = (missed + 2.0**-50 * (squared.sqrt() + missed)) * UP + 1e-150
    near = squared <= _TOO_FAR  # not so for NaN
    shrunk = 0.5 * squared * ((1.0 - space.gamma) * DOWN)
    half_norm = torch.full((padded,), torch.inf, dtype=torch.float32, device=rows.device)
    error = torch.zeros(padded, dtype=torch.float32, device=rows.device)
    half_norm[:n] = round_down(shrunk.where(near, 0.0))
    error[:n] = round_up(above.where(near, torch.inf))
    return Images(values, half_norm, error)


def query_half(images: Images, space: Space) -> Tensor:
    """Take t, the screen's error from underflow, off the half norms of queries."""
    return round_down(images.half_norm.double() - (space.length + 2.0) * 2.0**-120)


def _take(rows: Tensor, row_scales: Tensor, numbers: Tensor) -> Tensor:
    """Give rows in float64, at unit length where reciprocal norms are given."""
    taken = rows[numbers].double()
    return taken * row_scales[numbers, None] if len(row_scales) else taken


def round_down(value: Tensor) -> Tensor:
    """Give the largest float32 not above a float64."""
    nearest = value.float()
    below = torch.nextafter(nearest, torch.full_like(nearest, -torch.inf))
    return nearest.where(nearest <= value, below)


def round_up(value: Tensor) -> Tensor:
    """Give the smallest float32 not below a float64."""
    return -round_down(-value)
