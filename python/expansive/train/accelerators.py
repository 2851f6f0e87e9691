"""Device and precision from accelerate, which keeps one of each for a whole process."""

from __future__ import annotations

import gc
import os
from weakref import WeakSet

from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState, is_initialized
from accelerate.utils import DistributedType, parse_flag_from_env

_MADE: WeakSet[Accelerator] = WeakSet()
"""Accelerators of this package: none is asked for its device or precision once another was made."""


def launched_precision() -> str:
    """Give the precision that `accelerate launch` was told; "no", float32, without it."""
    return os.environ.get("ACCELERATE_MIXED_PRECISION", "no")


def make_accelerator(cpu: bool = False, mixed_precision: str | None = None) -> Accelerator:
    """Make an accelerator that gives device, precision and the share of this process.

    A new one for each use holds on to no module or data of an earlier use, whatever device and
    precision that had.

    Parameters
    ----------
    cpu : bool
        Whether to stay on the CPU; otherwise on the device of an Accelerator made elsewhere that
        is in use, or the default one.
    mixed_precision : str, optional
        By default that of an Accelerator made elsewhere that is in use, or `launched_precision`.

    Raises
    ------
    ValueError
        When an Accelerator made elsewhere is in use that has another precision than is asked for,
        or when that one, or the launch that this process belongs to, is not on the CPU where that
        is asked for.
    """
    if is_initialized():
        _leave(cpu, mixed_precision)
    made = Accelerator(cpu=cpu, mixed_precision=mixed_precision)
    _MADE.add(made)
    return made


def _leave(cpu: bool, mixed_precision: str | None) -> None:
    """Let accelerate take another device or precision, where another is wanted."""
    state = AcceleratorState()
    other_device = state.device.type != _wanted_place(cpu)
    other_precision = state.mixed_precision != (mixed_precision or launched_precision())
    if not other_device and not other_precision:
        return
    if other_device and state.distributed_type != DistributedType.NO:
        raise ValueError(
            f"cpu is True, and the processes of this launch are on {str(state.device)!r}: leave "
            "cpu out, or launch them with --cpu"
        )
    if not _others():
        AcceleratorState._reset_state(reset_partial_state=other_device)
        return
    if other_precision and mixed_precision is not None:
        raise ValueError(
            f"mixed_precision is {mixed_precision!r}, given or by default, and an Accelerator "
            f"made elsewhere in this process has {state.mixed_precision!r}: give the same, "
            "or delete that one first"
        )
    if other_device and cpu:
        raise ValueError(
            f"cpu is True, and an Accelerator made elsewhere in this process is on "
            f"{str(state.device)!r}: leave cpu out, or delete that one first"
        )


def _wanted_place(cpu: bool) -> str:
    """Name the kind of device; the processes of a launch stay where they began."""
    state = PartialState()
    if cpu or parse_flag_from_env("ACCELERATE_USE_CPU"):
        return "cpu"
    alone = state.distributed_type == DistributedType.NO
    return str((state.default_device if alone else state.device).type)


def _others() -> bool:
    """Whether any Accelerator made elsewhere is in use."""
    gc.collect()
    alive = [item for item in gc.get_objects() if issubclass(type(item), Accelerator)]
    return any(item not in _MADE for item in alive)
