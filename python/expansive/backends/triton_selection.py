"""The smallest of many values, and the nearest of many rows, for the Triton search."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from expansive.backends.triton_arrays import tiles
from expansive.backends.triton_neighbor_kernels import smallest_kernel

NO_ROW = torch.iinfo(torch.int64).max
"""Sorts behind every row."""

_MOST_TURNS, _MOST_COLUMNS = 64, 8192  # of one program that looks for the smallest in turn


def smallest(values: Tensor, take: int) -> Tensor:
    """Give the columns of the smallest values of each row, [rows, take], none of them twice."""
    columns = triton.next_power_of_2(values.shape[1])
    if take > _MOST_TURNS or columns > _MOST_COLUMNS:
        return values.topk(take, dim=1, largest=False).indices
    out = torch.empty((len(values), take), dtype=torch.int64, device=values.device)
    rows = max(1, tiles().elements // columns)
    smallest_kernel[(triton.cdiv(len(values), rows),)](
        values,
        out,
        *values.shape,
        take,
        ROWS=rows,
        COLUMNS=columns,
        num_warps=max(1, columns // 1024),
    )
    return out


def merge(
    distance: Tensor, row: Tensor, more: Tensor, more_rows: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Keep the k smallest (distance, row) of a list and of what was measured."""
    distance = torch.cat([distance, more], dim=1)
    row = torch.cat([row, more_rows], dim=1)
    row = row.masked_fill(distance == torch.inf, NO_ROW)
    if distance.shape[1] > 2 * k:
        distance, row = _narrow(distance, row, k)
    row, turn = row.sort(dim=1)
    distance, turn = distance.gather(1, turn).sort(dim=1, stable=True)
    return distance[:, :k], row.gather(1, turn)[:, :k]


def _narrow(distance: Tensor, row: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Leave 2k candidates that hold the k smallest (distance, row).

    The k smallest distances hold all below the k-th; of those equal to it, which come in any order,
    the smallest rows are found among all.
    """
    nearest, place = distance.topk(k, dim=1, largest=False)
    limit = nearest.amax(dim=1, keepdim=True)
    below = nearest < limit
    tied = row.masked_fill(distance != limit, NO_ROW).topk(k, dim=1, largest=False).values
    some = tied != NO_ROW
    return (
        torch.cat(
            [nearest.where(below, torch.inf), limit.expand_as(tied).where(some, torch.inf)], 1
        ),
        torch.cat([row.gather(1, place).where(below, NO_ROW), tied], 1),
    )
