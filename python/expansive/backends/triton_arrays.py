"""Where the Triton kernels run, and how matrices get there and back.

Torch tensors are the kernels' arrays. Rows on a CUDA device are taken where they lie, on the
caller's stream; rows on the host are brought to the current device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from expansive.arrays import DeviceArray, Rows
from expansive.arrays.device import view
from expansive.backends.triton_tiles import Tiles, choose

INTERPRETED = not isinstance(tl.sum, triton.JITFunction)
"""Whether TRITON_INTERPRET=1 was set when triton was imported: kernels then run in NumPy."""


def device() -> torch.device:
    """Give the device the kernels run on: the current GPU, or the CPU for the interpreter."""
    return torch.device("cpu") if INTERPRETED else torch.device("cuda", torch.cuda.current_device())


def tiles(d: int = 1) -> Tiles:
    """Give the block sizes for rows of d features on what the kernels run on."""
    if INTERPRETED:
        return choose("interpreter", d)
    major, minor = torch.cuda.get_device_capability()
    return choose(f"sm_{major}{minor}", d)


def scratch(memory_budget: int) -> int:
    """Limit a budget of scratch memory to half of what the GPU has left."""
    if INTERPRETED:
        return memory_budget
    kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # free to torch itself
    return min(memory_budget, (torch.cuda.mem_get_info()[0] + kept) // 2)


@contextmanager
def beside(x: Rows, home: torch.device | None = None) -> Iterator[None]:
    """Have kernels run on `home`, or on the device the rows lie on, or on the current one.

    Where the rows lie on that device, in the stream that was the caller's when they were passed.
    """
    if INTERPRETED:
        with np.errstate(over="ignore", invalid="ignore"):  # infinity or NaN, as on a GPU
            yield
        return
    there = torch.device(x.device) if isinstance(x.data, DeviceArray) else None
    place = home or there or device()
    with torch.cuda.device(place):
        if there != place:
            yield
        else:
            with torch.cuda.stream(stream_of(x.data.stream, place)):
                yield


def stream_of(handle: int, place: torch.device) -> torch.cuda.Stream:
    """Give torch's view of a stream.

    `torch.cuda.ExternalStream` makes a new stream of handle 0, the default stream (PyTorch's issue
    182960), and work on that would not wait for the caller's.
    """
    if handle == 0:
        return torch.cuda.default_stream(place)
    stream: torch.cuda.Stream = torch.cuda.ExternalStream(handle, place)  # type: ignore[no-untyped-call]
    return stream


def upload(x: Rows) -> Tensor:
    """Give the matrix on the device the kernels run on, in its own dtype."""
    return share(x).to(device())


def upload_array(array: NDArray[Any]) -> Tensor:
    """Give a NumPy array on the device the kernels run on."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device())


def share(x: Rows) -> Tensor:
    """Give the matrix as torch sees it, where it lies.

    Host memory that is read-only is copied: torch has no such thing.
    """
    if isinstance(x.data, DeviceArray):
        owner = x.data.owner
        return owner if torch.is_tensor(owner) else torch.utils.dlpack.from_dlpack(owner)
    writable = np.require(x.data, requirements=["W"])
    if x.dtype == "bfloat16":
        return torch.from_numpy(writable.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(writable)


def give(result: Tensor, x: Rows) -> NDArray[Any] | DeviceArray:
    """Give a result the way the protocol wants it: on the device if `x` lies on one."""
    if isinstance(x.data, DeviceArray) and result.is_cuda:
        return view(result.to(x.device))
    array: NDArray[Any] = result.cpu().numpy()
    return array


# ---- checks -----------------------------------------------------------------------------------

_WORDS = 1 << 22  # hashed at a time: the mixing needs memory of its own


def scan(x: Tensor) -> tuple[int, float]:
    """Give the first row with NaN or infinity (or -1) and the largest magnitude."""
    low, high = torch.aminmax(x, dim=1)
    largest = torch.maximum(-low, high).to(torch.float64)
    bad = (~torch.isfinite(largest)).to(torch.float64)
    row, count, highest = torch.stack([bad.argmax(), bad.sum(), largest.amax()]).tolist()
    return (int(row), np.inf) if count else (-1, highest)


def fingerprint(x: Tensor) -> int:
    """Sum of mixed 64-bit words (splitmix64 of word xor mixed position), modulo 2**64."""
    raw = x.flatten().view(torch.uint8)
    total = torch.zeros((), dtype=torch.int64, device=x.device)
    for start in range(0, len(raw), 8 * _WORDS):
        part = raw[start : start + 8 * _WORDS]
        # Padding copies, though only a part: words must be aligned.
        words = torch.nn.functional.pad(part, (0, -len(part) % 8)).view(torch.int64)
        position = torch.arange(start // 8, start // 8 + len(words), device=x.device)
        total += _mix(words ^ _mix(position)).sum()
    return int(total) % (1 << 64)


def _mix(word: Tensor) -> Tensor:
    """Mix by the finaliser of splitmix64; int64 wraps as uint64 does."""
    word = word + _signed(0x9E3779B97F4A7C15)
    word = (word ^ _shift(word, 30)) * _signed(0xBF58476D1CE4E5B9)
    word = (word ^ _shift(word, 27)) * _signed(0x94D049BB133111EB)
    return word ^ _shift(word, 31)


def _shift(word: Tensor, bits: int) -> Tensor:
    """Shift right without the sign, which torch's shift repeats."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    return word - (1 << 64)
