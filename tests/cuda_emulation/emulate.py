"""Build the CUDA module for the host: its sources with rewritten launches, compiled by g++.

Every line of the kernels but the PTX instructions runs, thread by thread; see cuda_runtime.h.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pybind11

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "csrc"

_FLAGS = ["-std=c++17", "-O1", "-fPIC", "-ffp-contract=off", "-U_FORTIFY_SOURCE", "-pthread"]
_DEFINED = ["-DEXPANSIVE_WGMMA"]
_LAUNCH = re.compile(r"(\w+(?:<[^<>;]*>)?)\s*<<<([^;]*?),\s*stream>>>\(")
_DYNAMIC = re.compile(r"extern __shared__ double (\w+)\[\];")


def rewrite(source: str) -> str:
    """Turn ``kernel<<<sizes, stream>>>(arguments);`` into a call of the emulation."""
    source = _DYNAMIC.sub(r"double* \1 = emulation::dynamic_shared_memory();", source)
    while (found := _LAUNCH.search(source)) is not None:
        end = source.index(");", found.end())
        call = f"{found[1]}({source[found.end() : end]})"
        launch = f"emulation::launch({found[2]}, [&] {{ {call}; }}"
        source = source[: found.start()] + launch + source[end:]
    return source


def build(folder: Path) -> tuple[ModuleType, ModuleType]:
    """Compile into `folder` and load the module, and screens.cpp with the same kernels."""
    for path in sorted((SOURCES / "cuda").glob("*.cu")):
        (folder / f"{path.stem}.cpp").write_text(rewrite(path.read_text()))
    shared = [*folder.glob("*.cpp"), HERE / "emulation.cpp"]
    bindings = [SOURCES / "bindings" / "cuda.cpp", HERE / "screens.cpp"]
    folders = [HERE, SOURCES, SOURCES / "include", pybind11.get_include()]
    includes = [f"-I{folder}" for folder in [*folders, sysconfig.get_path("include")]]

    def compile_one(source: Path) -> Path:
        target = folder / f"{source.parent.name}_{source.stem}.o"
        _run(["g++", *_FLAGS, *_DEFINED, *includes, "-c", str(source), "-o", str(target)])
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = [str(target) for target in pool.map(compile_one, [*shared, *bindings])]
    kernels = objects[: len(shared)]
    module, screens = objects[len(shared) :]
    return _load("_cuda", folder, [*kernels, module]), _load("screens", folder, [*kernels, screens])


def _load(name: str, folder: Path, objects: list[str]) -> ModuleType:
    module = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    _run(["g++", "-shared", "-pthread", *objects, "-o", str(module)])
    # Under a name of its own: pybind11 gives back a module of the same name that is loaded already.
    spec = importlib.util.spec_from_file_location(f"emulated.{name}", module)
    assert spec is not None
    assert spec.loader is not None
    built = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(built)
    return built


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
