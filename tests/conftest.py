"""Settings that hold for all tests."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("expansive", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("expansive")


def _finds_a_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


# Triton decides when it is imported whether to compile or to interpret, and any test may be the
# first to import it: so the decision falls here, before all of them. With a GPU they compile.
if not _finds_a_gpu():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def _own_accelerator_state() -> Iterator[None]:
    """Accelerate keeps device and precision for a whole process: let other tests have theirs."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
