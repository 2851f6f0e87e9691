"""What Triton needs around it, what is said without, and what its kernels compile to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cases import run_python

pytestmark = pytest.mark.train


def test_without_gpu_and_interpreter_it_says_what_is_missing() -> None:
    script = """
import os
os.environ.pop("TRITON_INTERPRET", None)
import torch
torch.cuda.is_available = lambda: False
from expansive.backends import registry
name, can_run, text = next(row for row in registry.describe() if row[0] == "triton")
assert not can_run
assert "no CUDA device; set TRITON_INTERPRET=1" in text, text
os.environ["TRITON_INTERPRET"] = "1"
assert "set it before" in registry.get_backend.__globals__["_load"]("triton").unavailable()
"""
    run_python(script)


def test_a_missing_compiler_is_said() -> None:
    run_python("""
import os
import shutil
os.environ.pop("TRITON_INTERPRET", None)
os.environ.pop("CC", None)
import torch
torch.cuda.is_available = lambda: True
torch.cuda.get_device_capability = lambda: (9, 0)
from expansive.backends import triton
assert triton.unavailable() is None
shutil.which = lambda name: None
assert "no C compiler" in triton.unavailable()
""")


def test_the_default_stream_is_not_taken_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from expansive.backends import triton_arrays

    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda handle, _: f"stream {handle}")
    monkeypatch.setattr(torch.cuda, "default_stream", lambda place: f"default of {place}")
    place = torch.device("cuda", 1)
    assert triton_arrays.stream_of(0, place) == "default of cuda:1"
    assert triton_arrays.stream_of(7, place) == "stream 7"


def test_without_triton_the_package_works_and_names_the_extra() -> None:
    run_python("""
import sys
sys.modules["triton"] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "triton" else find(name, *a)
import expansive as ex
import numpy as np
ex.neighbors(np.eye(3), None, 1, "any")
try:
    ex.neighbors(np.eye(3), None, 1, "any", backend="triton")
except RuntimeError as error:
    assert "triton is not installed; pip install 'expansive[triton]'" in str(error), error
else:
    raise AssertionError("ran without triton")
""")


# ---- compiled without a GPU -------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["80", "90"])
def test_kernels_compile_without_a_gpu(architecture: str, tmp_path: Path) -> None:
    """To matrix instructions, to real fused multiply-adds, and to no others."""
    script = Path(__file__).with_name("compile_triton.py")
    done = subprocess.run(
        [sys.executable, script, architecture],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
