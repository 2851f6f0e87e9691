"""Certified-exact search in two plain passes of Triton kernels; the host's side.

The screen bounds the distance of each query to each tile of database rows from below. Then, for
each query, the tiles of smallest bound are measured, in rounds, until every tile left is beyond
the k-th distance. About k tiles are measured in most data. They are looked for in the groups of
tiles of smallest bound, which hold them, so that the bounds of all tiles are read only once.

Rows are grouped by class, and so are queries: their ends tell which blocks and strips can hold no
neighbour, and the screen skips those. Which tiles are measured, and
when, changes nothing in the result (`triton_bounds`). Nothing waits for the device but the end of
each round.

Out of scope: rotated screens; databases that do not fit on the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton
from numpy.typing import NDArray
from torch import Tensor

from expansive.arrays import Rows
from expansive.backends import triton_bounds as bounds
from expansive.backends.triton_arrays import (
    INTERPRETED,
    beside,
    give,
    scratch,
    tiles,
    upload,
    upload_array,
)
from expansive.backends.triton_neighbor_kernels import (
    bounds_kernel,
    finish_kernel,
    refine_kernel,
    row_scales_kernel,
    screen_kernel,
)
from expansive.backends.triton_selection import NO_ROW, merge, smallest
from expansive.backends.triton_tiles import Tiles

_GROUP = 32  # tiles of a group

# ---- the database -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Index:
    """The rows on the device, grouped by class, and their images.

    Attributes
    ----------
    rows : Tensor, shape [n, d]
        As given.
    row_scales : Tensor of float64, shape [n]
        Reciprocal norms for cosine, else empty.
    order : Tensor of int64, shape [n_padded]
        The row at each grouped position, -1 in the padding of the last block.
    position : Tensor of int64, shape [n]
        The grouped position of each row.
    codes : Tensor of int32, shape [n_padded]
        Class codes by position, ascending.
    space : bounds.Space
        Centre and scale of the images.
    images : bounds.Images
        By position.
    tile_error : Tensor of float32, shape [n_tiles]
        The largest image error in each tile.
    metric : str
    wide : bool
        Whether distances are given in float64.
    tiles : Tiles
        Sizes of the kernels' tiles.
    """

    rows: Tensor
    row_scales: Tensor
    order: Tensor
    position: Tensor
    codes: Tensor
    space: bounds.Space
    images: bounds.Images
    tile_error: Tensor
    metric: str
    wide: bool
    tiles: Tiles

    def search(
        self,
        queries: Rows,
        codes: NDArray[np.int64] | None,
        own_rows: NDArray[np.int64] | None,
        k: int,
        relation: str,
        threads: int,
        memory_budget: int,
    ) -> tuple[Any, Any]:
        """Distances and row numbers, [n_queries, k]; `own_rows` are excluded, one a query."""
        with beside(queries, self.rows.device):
            wide = self.wide or queries.dtype == "float64"
            distance, row = self._search(
                upload(queries),
                None if codes is None else upload_array(codes),
                None if own_rows is None else upload_array(own_rows),
                k,
                relation,
                scratch(memory_budget),
            )
            dtype = torch.float64 if wide else torch.float32
            finished = _finish(distance, self.metric, dtype)
            return give(finished, queries), give(row, queries)

    def _search(
        self,
        queries: Tensor,
        codes: Tensor | None,
        own_rows: Tensor | None,
        k: int,
        relation: str,
        budget: int,
    ) -> tuple[Tensor, Tensor]:
        n, place = len(queries), queries.device
        turn = torch.arange(n, device=place) if codes is None else codes.argsort(stable=True)
        distance = torch.full((n, k), torch.inf, dtype=torch.float64, device=place)
        row = torch.full((n, k), NO_ROW, dtype=torch.int64, device=place)
        for part in torch.split(turn, self._batch(k, budget)):
            batch = self._batch_of(
                queries[part],
                None if codes is None else codes[part],
                None if own_rows is None else self.position[own_rows[part]],
            )
            distance[part], row[part] = self._nearest(batch, k, relation, budget)
        return distance, row.masked_fill_(row == NO_ROW, -1)

    def _batch(self, k: int, budget: int) -> int:
        """Count the queries of a batch, by what their images, bounds and first candidates take."""
        n_tiles, d = len(self.tile_error), self.rows.shape[1]
        take = min(k + _SPARE_TILES, n_tiles)
        first = take * (self.tiles.tile + _GROUP)
        each = 16 * d + 5 * n_tiles + _CANDIDATE_BYTES * (first + k)
        return max(1, budget // each)

    def _batch_of(self, queries: Tensor, codes: Tensor | None, own: Tensor | None) -> Batch:
        place = queries.device
        row_scales = _find_row_scales(queries) if self.metric == "cosine" else self.row_scales[:0]
        padded = _round_up(len(queries), self.tiles.queries)
        numbers = torch.arange(len(queries), device=place)
        images = bounds.make_images(queries, row_scales, self.space, numbers, padded)
        padded_codes = torch.zeros(padded, dtype=torch.int32, device=place)
        padded_own = torch.full((padded,), -1, dtype=torch.int64, device=place)
        if codes is not None:
            padded_codes[: len(codes)] = codes
            padded_codes[len(codes) :] = codes[-1]
        if own is not None:
            padded_own[: len(own)] = own
        half = bounds.query_half(images, self.space)
        return Batch(queries, row_scales, padded_codes, padded_own, own is not None, images, half)

    # ---- the two passes -----------------------------------------------------------------------

    def _nearest(self, batch: Batch, k: int, relation: str, budget: int) -> tuple[Tensor, Tensor]:
        """Find the k nearest (squared distance, row) of every query of a batch."""
        n, place = len(batch.rows), batch.rows.device
        distance = torch.full((n, k), torch.inf, dtype=torch.float64, device=place)
        row = torch.full((n, k), NO_ROW, dtype=torch.int64, device=place)
        active = torch.arange(n, device=place)
        least = self._screen(batch, relation)  # of the tiles not yet refined
        nearest = self._bounds(batch, least, active, None)
        take = k + _SPARE_TILES
        while len(active):
            each = _CANDIDATE_BYTES * (self.tiles.tile + _GROUP) * len(active)
            take = min(take, len(self.tile_error), max(1, budget // each))
            # The tiles of smallest bound are in as many groups of smallest bound.
            group = smallest(nearest, min(take, nearest.shape[1]))
            near = self._bounds(batch, least, active, group)
            which = smallest(near, take)
            bound = near.gather(1, which)
            near.scatter_(1, which, torch.inf)
            nearest.scatter_(1, group, near.view(*group.shape, _GROUP).amin(dim=2))
            tile = group.gather(1, which // _GROUP) * _GROUP + which % _GROUP
            least[active[:, None], tile] = torch.inf
            reach = self.space.reach(distance[active, -1])[:, None]
            tile.masked_fill_((bound > reach) | (bound == torch.inf), -1)
            measured = self._refine(batch, active, tile, relation)
            distance[active], row[active] = merge(
                distance[active], row[active], measured, self._rows_of(tile), k
            )
            # The one place that waits: how many queries have a tile left that could matter?
            left = nearest.amin(dim=1)
            open_ = (left <= self.space.reach(distance[active, -1])) & (left < torch.inf)
            nearest, active = nearest[open_], active[open_]
            take *= 2
        return distance, row

    def _screen(self, batch: Batch, relation: str) -> Tensor:
        """Give the least half squared distances, but for the queries' norms, [queries, tiles]."""
        t, n_tiles = self.tiles, len(self.tile_error)
        padded, d = batch.images.values.shape
        shape = (len(batch.rows), _round_up(n_tiles, _GROUP))  # those behind the last are not read
        out = torch.empty(shape, dtype=torch.float32, device=self.rows.device)
        steps, n_blocks = d // self.space.step, n_tiles * t.tile // t.columns
        screen_kernel[(padded // t.queries * triton.cdiv(n_blocks, t.strip),)](
            batch.images.values,
            batch.codes,
            batch.own,
            self.images.values,
            self.images.half_norm,
            self.codes,
            out,
            len(batch.rows),
            n_blocks,
            steps,
            shape[1],
            RELATION=relation,
            OWN=batch.has_own and relation != "enemy",
            QUERIES=t.queries,
            COLUMNS=t.columns,
            TILE=t.tile,
            FEATURES=self.space.step,
            QUERY_GROUP=t.query_group,
            STRIP=t.strip,
            ONE_STEP=steps == 1 and t.strip > 1,
            INTERPRETED=INTERPRETED,
            num_warps=t.warps,
            num_stages=t.stages,
            enable_fp_fusion=False,
        )
        return out

    def _bounds(self, batch: Batch, least: Tensor, active: Tensor, listed: Tensor | None) -> Tensor:
        """Give the bounds of the tiles in listed groups, [active, listed * tiles of a group].

        Where no groups are listed, the least bound of each group, [active, groups].
        """
        n_groups = least.shape[1] // _GROUP if listed is None else listed.shape[1]
        shape = (len(active), n_groups if listed is None else n_groups * _GROUP)
        out = torch.empty(shape, dtype=torch.float32, device=least.device)
        groups = min(triton.next_power_of_2(n_groups), _GROUPS)
        rows = max(1, self.tiles.elements // (groups * _GROUP))
        bounds_kernel[(triton.cdiv(len(active), rows), triton.cdiv(n_groups, groups))](
            least,
            active,
            batch.half,
            batch.images.error,
            self.tile_error,
            active if listed is None else listed,  # not read in the first case
            out,
            len(active),
            n_groups,
            len(self.tile_error),
            least.shape[1],
            LISTED=listed is not None,
            ROWS=rows,
            GROUPS=groups,
            TILES=_GROUP,
            num_warps=4,
            enable_fp_fusion=False,
        )
        return out

    def _refine(self, batch: Batch, active: Tensor, tile: Tensor, relation: str) -> Tensor:
        """Measure tiles [active, n_each]: squared distances [active, n_each * rows of a tile]."""
        t, pairs = self.tiles, self.tiles.refined
        shape = (len(active), tile.shape[1] * t.tile)
        out = torch.empty(shape, dtype=torch.float64, device=tile.device)
        refine_kernel[(triton.cdiv(tile.numel(), pairs),)](
            batch.rows,
            batch.row_scales,
            batch.codes,
            batch.own,
            self.rows,
            self.row_scales,
            self.codes,
            self.order,
            active,
            tile,
            out,
            tile.numel(),
            tile.shape[1],
            self.rows.shape[1],
            RELATION=relation,
            COSINE=self.metric == "cosine",
            PAIRS=pairs,
            TILE=t.tile,
            UNROLLED=t.unrolled,
            num_warps=t.refine_warps,
            enable_fp_fusion=False,
        )
        return out

    def _rows_of(self, tile: Tensor) -> Tensor:
        """Give the row numbers behind what `_refine` measures."""
        by_tile = self.order.view(-1, self.tiles.tile)
        return by_tile[tile.clamp(min=0)].flatten(1)


@dataclass(frozen=True)
class Batch:
    """Queries made ready: as given, and padded to whole blocks where the screen reads them."""

    rows: Tensor
    row_scales: Tensor
    codes: Tensor
    own: Tensor
    has_own: bool
    images: bounds.Images
    half: Tensor


_GROUPS = 32  # of tiles, whose bounds one program computes for a query
_SPARE_TILES = 4  # beyond k in the first round: nearly always the last one, too
_CANDIDATE_BYTES = 48  # of a measured row, its number and selection among them; more than a bound's


def build_index(x: Rows, largest: float, codes: NDArray[np.int64] | None, metric: str) -> Index:
    """Bring the rows to the device, group them by class and make their images."""
    with beside(x):
        rows, t = upload(x), tiles(x.shape[1])
        every = torch.arange(len(rows), device=rows.device)
        grouped = torch.zeros_like(every) if codes is None else upload_array(codes)
        order = every if codes is None else grouped.argsort(stable=True)
        position = torch.empty_like(order)
        position[order] = every
        row_scales = (
            _find_row_scales(rows) if metric == "cosine" else rows.new_empty(0, dtype=torch.float64)
        )
        step = min(t.features, max(16, triton.next_power_of_2(rows.shape[1])))
        space = bounds.make_space(rows, largest, row_scales, step)
        padded = _round_up(len(rows), t.columns)
        images = bounds.make_images(rows, row_scales, space, order, padded)
        sorted_codes = grouped[order].to(torch.int32)
        fill = padded - len(rows)
        return Index(
            rows=rows,
            row_scales=row_scales,
            order=torch.cat([order, order.new_full((fill,), -1)]),
            position=position,
            codes=torch.cat([sorted_codes, sorted_codes[-1:].expand(fill)]),
            space=space,
            images=images,
            tile_error=images.error.view(-1, t.tile).amax(dim=1),
            metric=metric,
            wide=x.dtype == "float64",
            tiles=t,
        )


# The two roots are taken in kernels: torch's on the CPU is not rounded correctly.


def _find_row_scales(rows: Tensor) -> Tensor:
    """Give reciprocal norms in float64, with the bits of the reference."""
    row_scales = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
    block = tiles().elements // 8
    row_scales_kernel[(triton.cdiv(len(rows), block),)](
        rows, row_scales, len(rows), rows.shape[1], ROWS=block, enable_fp_fusion=False
    )
    return row_scales


def _finish(squares: Tensor, metric: str, dtype: torch.dtype) -> Tensor:
    """Turn squared distances into the metric's distance, rounded to `dtype`."""
    out = torch.empty_like(squares, dtype=dtype)
    block = tiles().elements
    finish_kernel[(triton.cdiv(out.numel(), block),)](
        squares, out, out.numel(), METRIC=metric, BLOCK=block, enable_fp_fusion=False
    )
    return out


def _round_up(n: int, step: int) -> int:
    return -(-n // step) * step
