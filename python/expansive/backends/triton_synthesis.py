"""Synthetic rows by the Triton kernels; the host's side."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton
from numpy.typing import NDArray
from torch import Tensor

from expansive.arrays import Rows
from expansive.backends.registry import Partners, RowNumbers
from expansive.backends.triton_arrays import beside, device, share, tiles, upload, upload_array
from expansive.backends.triton_synthesis_kernels import draw_kernel, synthesize_kernel

_MOST_FEATURES = 256  # of a program: more would leave it too few rows to share the draws


@dataclass(frozen=True)
class Tables:
    """A plan's drawing tables on the device, in the order of the kernels' arguments."""

    sample_start: Tensor
    base_start: Tensor
    bases: Tensor
    partner_start: Tensor
    partners: Tensor
    key: Tensor
    stream: int

    def serves_here(self) -> bool:
        """Whether they were made on the current device and stream.

        Another stream may still read them when their memory is given back to the one that made
        them, so each stream has its own.
        """
        return self.key.device == device() and self.stream == _current_stream()

    def arguments(self) -> tuple[Tensor, ...]:
        """Give them as the kernels take them."""
        return (
            self.sample_start,
            self.base_start,
            self.bases,
            self.partner_start,
            self.partners,
            self.key,
        )


_uploaded: tuple[weakref.ref[Partners], Tables] | None = None


def upload_tables(partners: Partners) -> Tables:
    """Bring the tables to the device, once while one plan is in use."""
    global _uploaded
    kept = _uploaded  # another thread may put its own there meanwhile
    if kept is not None and kept[0]() is partners and kept[1].serves_here():
        return kept[1]
    tables = Tables(
        upload_array(partners.sample_start),
        upload_array(partners.base_start),
        upload_array(partners.bases),
        upload_array(partners.partner_start),
        upload_array(partners.partners),
        upload_array(np.array([partners.seed & 0xFFFFFFFF, partners.seed >> 32])),
        _current_stream(),
    )
    _uploaded = (weakref.ref(partners), tables)
    return tables


def _current_stream() -> int:
    """Give the handle of the stream that work goes to; the interpreter has none."""
    return torch.cuda.current_stream().cuda_stream if device().type == "cuda" else 0


def _span(partners: Partners, dtype: Any) -> Tensor:
    """Give the least weight and the width of its range, each rounded once; u maps to it."""
    low, high = dtype(partners.low), dtype(partners.high)
    return upload_array(np.array([low, high - low], dtype))


def _search_steps(partners: Partners) -> int:
    """Count the halvings that leave one class."""
    return (len(partners.sample_start) - 2).bit_length()


def draw(
    partners: Partners, rows: RowNumbers, weight_dtype: type[np.floating[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Give base, partner and weight of each synthetic row."""
    numbers = _upload(rows)
    base, partner = torch.empty_like(numbers), torch.empty_like(numbers)
    span = _span(partners, weight_dtype)
    weight = torch.empty(len(rows), dtype=span.dtype, device=span.device)
    if len(rows):
        block = min(tiles().elements, triton.next_power_of_2(len(rows)))
        draw_kernel[(triton.cdiv(len(rows), block),)](
            numbers,
            *upload_tables(partners).arguments(),
            span,
            base,
            partner,
            weight,
            len(rows),
            len(partners.sample_start) - 1,
            SEARCH_STEPS=_search_steps(partners),
            ROWS=block,
            enable_fp_fusion=False,
        )
    return base.cpu().numpy(), partner.cpu().numpy(), weight.cpu().numpy()


def synthesize(x: Rows, partners: Partners, rows: RowNumbers, out: Rows) -> None:
    """Write the synthetic rows into `out`."""
    with beside(x):
        target = share(out)
        in_place = target.device == device()
        made = target if in_place else torch.empty_like(target, device=device())
        _launch(upload(x), partners, _upload(rows), made, _span(partners, x.compute_dtype))
        if not in_place:
            target.copy_(made)


def _upload(rows: RowNumbers) -> Tensor:
    if isinstance(rows, range):
        return torch.arange(rows.start, rows.stop, device=device())
    return upload_array(rows)


def _launch(x: Tensor, partners: Partners, rows: Tensor, out: Tensor, span: Tensor) -> None:
    n, d = out.shape
    features = min(triton.next_power_of_2(d), _MOST_FEATURES)
    count = min(max(1, tiles().elements // features), triton.next_power_of_2(n))
    is_bfloat16 = out.dtype == torch.bfloat16
    synthesize_kernel[(triton.cdiv(n, count), triton.cdiv(d, features))](
        x,
        rows,
        *upload_tables(partners).arguments(),
        span,
        out.view(torch.int16) if is_bfloat16 else out,
        n,
        d,
        len(partners.sample_start) - 1,
        SEARCH_STEPS=_search_steps(partners),
        ROWS=count,
        FEATURES=features,
        BFLOAT16_OUT=is_bfloat16,
        enable_fp_fusion=False,
    )
