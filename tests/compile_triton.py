"""Compile the Triton kernels for one architecture, without a GPU, and check what they became.

Run as ``python tests/compile_triton.py 90``; fresh, since a process either compiles or interprets.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from expansive.backends import triton_neighbor_kernels as search
from expansive.backends import triton_synthesis_kernels as synthesis
from expansive.backends.triton_tiles import TABLE, Tiles

ARCHITECTURE = sys.argv[1]
MATRIX = {"80": "mma.sync", "90": "wgmma.mma_async"}[ARCHITECTURE]
SHARED_MEMORY = {"80": 163 << 10, "90": 227 << 10}[ARCHITECTURE]  # bytes a program may have


def compile_kernel(
    kernel: Any,
    pointers: dict[str, str],
    numbers: str,
    constants: dict[str, Any],
    num_warps: int = 4,
    num_stages: int = 1,
) -> str:
    """Give a kernel's PTX; `pointers` lists arguments by element type, `numbers` are integers."""
    types = {name: "*" + kind for kind, names in pointers.items() for name in names.split()}
    types |= dict.fromkeys(numbers.split(), "i32") | dict.fromkeys(constants, "constexpr")
    signature = {name: types[name] for name in kernel.arg_names}
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, kind in enumerate(signature.values())
        if kind.startswith("*")
    }
    compiled = triton.compile(
        ASTSource(kernel, signature, constants, aligned),
        target=GPUTarget("cuda", int(ARCHITECTURE), 32),
        options={"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": False},
    )
    assert compiled.asm["cubin"]
    assert compiled.metadata.shared <= SHARED_MEMORY, compiled.metadata.shared
    return str(compiled.asm["ptx"])


def check_screen(tiles: Tiles, relation: str, own: bool, one_step: bool) -> None:
    ptx = compile_kernel(
        search.screen_kernel,
        {"bf16": "queries rows", "fp32": "row_half out", "i32": "query_codes codes", "i64": "own"},
        "n_queries n_blocks n_steps stride",
        {
            "RELATION": relation,
            "OWN": own,
            "QUERIES": tiles.queries,
            "COLUMNS": tiles.columns,
            "TILE": tiles.tile,
            "FEATURES": tiles.features,
            "QUERY_GROUP": tiles.query_group,
            "STRIP": tiles.strip,
            "ONE_STEP": one_step,
            "INTERPRETED": False,
        },
        tiles.warps,
        tiles.stages,
    )
    assert re.search(re.escape(MATRIX) + r"[.a-z0-9]*bf16\.bf16", ptx)
    assert "fma.rn.f32" not in ptx  # nothing was contracted


def check_images(rows: str) -> None:
    pointers = {"i64": "order", "i16": "out", rows: "rows"}
    wide = "row_scales centre scale squared_norm squared_error"
    pointers["fp64"] = f"{wide} rows" if rows == "fp64" else wide
    constants = {"COSINE": True, "TOO_FAR": 2.0**100, "ROWS": 8, "FEATURES": 128}
    ptx = compile_kernel(search.images_kernel, pointers, "n d length", constants)
    assert "fma.rn.f64" not in ptx  # nothing was contracted


def check_bounds(listed: bool) -> None:
    ptx = compile_kernel(
        search.bounds_kernel,
        {"fp32": "least half query_error tile_error out", "i64": "numbers listed"},
        "n n_listed n_tiles stride",
        {"LISTED": listed, "ROWS": 1, "GROUPS": 32, "TILES": 32},
    )
    assert "sqrt.rn.f32" in ptx
    assert "fma.rn.f32" not in ptx


def check_refine(tiles: Tiles) -> None:
    ptx = compile_kernel(
        search.refine_kernel,
        {
            "fp32": "queries rows",
            "fp64": "query_scales row_scales out",
            "i32": "query_codes codes",
            "i64": "own order chosen chosen_tiles",
        },
        "n_pairs n_each d",
        {
            "RELATION": "friend",
            "COSINE": True,
            "PAIRS": tiles.refined,
            "TILE": tiles.tile,
            "UNROLLED": tiles.unrolled,
        },
        tiles.refine_warps,
    )
    assert ptx.count("fma.rn.f64") == ptx.count("sub.rn.f64") > 0
    assert "mul.rn.f64" in ptx  # x * x_scale - y * y_scale was not contracted


def check_smallest() -> None:
    for columns in (1, 1024, 8192):  # of few rows and of many
        pointers, sizes = {"fp32": "values", "i64": "out"}, {"ROWS": 1, "COLUMNS": columns}
        compile_kernel(search.smallest_kernel, pointers, "n n_columns take", sizes)


def check_roots() -> None:
    ptx = compile_kernel(
        search.row_scales_kernel, {"fp32": "rows", "fp64": "out"}, "n d", {"ROWS": 128}
    )
    assert all(name in ptx for name in ("fma.rn.f64", "sqrt.rn.f64", "div.rn.f64"))
    constants = {"METRIC": "euclidean", "BLOCK": 1024}
    ptx = compile_kernel(search.finish_kernel, {"fp64": "squares", "fp32": "out"}, "n", constants)
    assert all(name in ptx for name in ("sqrt.rn.f64", "cvt.rn.f32.f64"))


def check_draw() -> None:
    tables = "sample_start base_start bases partner_start partners key rows base_out partner_out"
    pointers = {"i64": tables, "fp32": "span weight_out"}
    constants = {"SEARCH_STEPS": 3, "ROWS": 1024}
    ptx = compile_kernel(synthesis.draw_kernel, pointers, "n_rows n_classes", constants)
    assert "fma.rn.f32" in ptx


def check_synthesis(x: str, out: str, expected: tuple[str, ...]) -> None:
    tables = "sample_start base_start bases partner_start partners key rows"
    pointers = {"i64": tables}
    for name, kind in (("x", x), ("span", "fp64" if x == "fp64" else "fp32"), ("out", out)):
        pointers[kind] = f"{pointers.get(kind, '')} {name}"
    constants = {"SEARCH_STEPS": 3, "ROWS": 4, "FEATURES": 256, "BFLOAT16_OUT": out == "i16"}
    ptx = compile_kernel(synthesis.synthesize_kernel, pointers, "n_rows d n_classes", constants)
    assert all(name in ptx for name in expected), expected
    assert "ftz" not in ptx  # subnormal numbers stay


for sizes in TABLE[f"sm_{ARCHITECTURE}"].values():
    check_screen(sizes, "enemy", own=False, one_step=False)
    check_screen(sizes, "friend", own=True, one_step=False)
    check_screen(sizes, "any", own=True, one_step=False)
    check_screen(sizes, "any", own=False, one_step=sizes.columns < 256)
    check_refine(sizes)
check_images("fp32")
check_images("bf16")
check_images("fp64")
check_bounds(listed=False)
check_bounds(listed=True)
check_smallest()
check_roots()
check_draw()
check_synthesis("fp32", "fp32", ("fma.rn.f32",))
check_synthesis("fp32", "i16", ("fma.rn.f32",))
check_synthesis("fp64", "fp16", ("fma.rn.f64", "cvt.rn.f16.f64"))
check_synthesis("fp64", "i16", ("fma.rn.f64", "cvt.rn.f32.f64"))
check_synthesis("fp16", "fp32", ("fma.rn.f32",))
check_synthesis("bf16", "i16", ("fma.rn.f32",))
