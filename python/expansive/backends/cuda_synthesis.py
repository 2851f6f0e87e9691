"""Synthesis on CUDA: what the kernels need is put together here."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive import _cuda
from expansive.arrays import DeviceArray, Rows
from expansive.backends.cuda_memory import HOST_DATA, NOTHING, Buffer, Place, place_of
from expansive.backends.registry import Partners, RowNumbers, picked_and_first

_Key = tuple[int, int, int]  # the tables, the device and the stream they were brought by
_brought: dict[_Key, tuple[_cuda.PartnerTables, list[Buffer]]] = {}


def synthesize(
    x: Rows,
    partners: Partners,
    rows: RowNumbers,
    out: Rows,
    labels: DeviceArray | None = None,
) -> None:
    """Write the synthetic rows into `out` and, if given, the number of each one's class."""
    place = place_of(x)
    (n, d), count = x.shape, len(rows)
    source = place.bring(x)
    numbers, first = _bring(rows, place)
    on_device = isinstance(out.data, DeviceArray)
    target = Buffer(out.data.pointer) if on_device else place.empty(out.data.nbytes)
    _tables(partners, place).synthesize(
        x=source.address,
        n=n,
        d=d,
        dtype=x.dtype,
        rows=numbers.address,
        first=first,
        out=target.address,
        count=count,
        out_dtype=out.dtype,
        labels=0 if labels is None else labels.pointer,
        stream=place.stream,
    )
    if not on_device:
        place.download(target, out.data)


def draw(
    partners: Partners, rows: RowNumbers, weight_dtype: type[np.floating[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Give base, partner and weight of each synthetic row."""
    place, count = HOST_DATA, len(rows)
    results = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, weight_dtype)
    buffers = [place.empty(result.nbytes) for result in results]
    numbers, first = _bring(rows, place)
    _tables(partners, place).draw(
        rows=numbers.address,
        first=first,
        count=count,
        base=buffers[0].address,
        partner=buffers[1].address,
        weight=buffers[2].address,
        wide=weight_dtype is np.float64,
        stream=place.stream,
    )
    for buffer, result in zip(buffers, results, strict=True):
        place.download(buffer, result)
    return results


def _bring(rows: RowNumbers, place: Place) -> tuple[Buffer, int]:
    """Bring numbers that have to be read, and tell where others begin."""
    picked, first = picked_and_first(rows)
    return NOTHING if picked is None else place.upload(picked), first


def _tables(partners: Partners, place: Place) -> _cuda.PartnerTables:
    """Bring drawing tables to the device, once for each object and stream."""
    key = (id(partners), place.device, place.stream)
    if key not in _brought:
        arrays = (
            partners.sample_start,
            partners.base_start,
            partners.bases,
            partners.partner_start,
            partners.partners,
        )
        buffers = [place.upload(array.astype(np.int64, copy=False)) for array in arrays]
        sample_start, base_start, bases, partner_start, flat = (b.address for b in buffers)
        tables = _cuda.PartnerTables(
            place.device,
            sample_start,
            base_start,
            len(partners.sample_start) - 1,
            bases,
            partner_start,
            flat,
            partners.seed,
            partners.low,
            partners.high,
        )
        _brought[key] = tables, buffers
        weakref.finalize(partners, _brought.pop, key, None)
    return _brought[key][0]
