"""The CUDA backend: the kernels' own source, run on the host thread by thread.

CI has no GPU. So `cuda_emulation` compiles the kernels with g++, all but the instructions that C++
has no names for, which it imitates; it is slow, so cases are small. Where there is a GPU,
`cases.BACKENDS_UNDER_TEST` holds "cuda" too, and the tests of search, synthesis and samplers run on
it with all their cases.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle, product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import expansive as ex
from cases import (
    DTYPES,
    LABELINGS,
    MAKERS,
    METRICS,
    MINIMUM_BUDGET,
    RELATIONS,
    assert_same_bits,
    assert_same_search,
    blobs,
    cast,
    make_data,
)
from expansive import backends
from expansive.arrays import DeviceArray, Rows, as_rows
from expansive.backends import cuda, reference
from expansive.backends.registry import Expected, Partners, get_backend
from test_philox import ROWS, SEEDS, draw_by_hand, tables

HERE = Path(__file__).parent
IMPORTING_MODULES = ("cuda_memory", "cuda_search", "cuda_synthesis")


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModuleType, ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE / "cuda_emulation"))
        import emulate

        return emulate.build(tmp_path_factory.mktemp("emulated"))


@pytest.fixture(scope="module")
def compiled(modules: tuple[ModuleType, ModuleType]) -> ModuleType:
    return modules[0]


@pytest.fixture(scope="module")
def screens(modules: tuple[ModuleType, ModuleType]) -> ModuleType:
    return modules[1]


@pytest.fixture
def emulated(compiled: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Stand the emulated module in for the compiled one, for a test."""
    monkeypatch.setitem(sys.modules, "expansive._cuda", compiled)
    monkeypatch.setattr(ex, "_cuda", compiled, raising=False)
    forget_importers()
    yield compiled
    forget_importers()


@pytest.fixture(params=["8", "9"], ids=["mma", "wgmma"])
def searching(
    emulated: ModuleType, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> ModuleType:
    """The emulated module on chips with either of the screens."""
    monkeypatch.setenv("EMULATED_MAJOR", request.param)
    return emulated


def forget_importers() -> None:
    for name in IMPORTING_MODULES:
        sys.modules.pop(f"expansive.backends.{name}", None)
        vars(backends).pop(name, None)


# ---- what is missing --------------------------------------------------------------------------


def test_a_module_that_was_not_built_says_how_to(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "expansive._cuda" else find(name)
    )
    with pytest.raises(RuntimeError, match=r"'cuda' cannot run here: .*EXPANSIVE_CUDA=ON"):
        get_backend("cuda")


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("EMULATED_DRIVER", "0", "no NVIDIA driver is installed"),
        ("EMULATED_DEVICES", "0", "no CUDA device can be used"),
        ("EMULATED_MAJOR", "7", "emulated has compute capability 7.0, .* need 8.0 or newer"),
        ("EMULATED_POOLS", "0", "emulated has no memory pools"),
    ],
)
def test_what_is_missing_is_said(
    emulated: ModuleType, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, message: str
) -> None:
    assert cuda.unavailable() is None
    assert cuda.describe() == "emulated, compute capability 8.0, 1 GiB, screens by mma.sync"
    monkeypatch.setenv(setting, value)
    with pytest.raises(RuntimeError, match=f"'cuda' cannot run here: .*{message}"):
        ex.neighbors(np.eye(3), None, 1, "any", backend="cuda")


# ---- rules without kernels --------------------------------------------------------------------


def test_bounds_places_and_choices(tmp_path: Path) -> None:
    """See cuda_host.cpp."""
    program = tmp_path / "cuda_host"
    source = HERE.parent / "csrc"
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-pthread"]
    command = ["g++", *flags, f"-I{source}", f"-I{source / 'include'}", HERE / "cuda_host.cpp"]
    subprocess.run([*command, "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-300:]


def test_sizes_can_be_printed(emulated: ModuleType) -> None:
    assert emulated.describe_tiles(1_000_000, 100_000, 100, 10) == {
        "block_queries": 128,
        "block_rows": 128,
        "wide_block_rows": 256,
        "wide_stages": 6,
        "features_a_step": 32,
        "padded_features": 128,
        "tile_rows": 64,
        "tiles": 15625,
        "strip_blocks": 64,
        "queries_at_a_time": 16768,
        "candidate_slots": 1024,
        "candidates_in_shared_memory": True,
    }


def test_a_search_keeps_to_its_budget(emulated: ModuleType) -> None:
    for n, q, d, k in product((10, 10**6), (1, 10**5), (3, 2048), (1, 1000)):
        for budget in (1 << 28, 1 << 32):
            used = emulated.workspace_bytes(n, q, d, k, budget)
            one_block = emulated.workspace_bytes(n, 128, d, k, budget)
            assert one_block <= used <= max(budget, one_block) + (1 << 12)
    small = emulated.workspace_bytes(10**5, 128, 8, 3000, 1 << 28)
    assert emulated.workspace_bytes(10**5, 128, 8, 4000, 1 << 28) > small + 256 * 8192 * 12 - 4096


# ---- pass A ----------------------------------------------------------------------------------


def image_blocks(images: NDArray[np.int64], rows: int) -> NDArray[np.uint16]:
    """Lay small integers out as csrc/cuda/fragments.h says, padded to a multiple of `rows`."""
    n, d = images.shape
    blocks, steps = -(-n // rows) * rows // 128, -(-d // 64)
    padded = np.zeros((blocks * 128, steps * 64), np.float32)
    padded[:n, :d] = images
    bits = (padded.view(np.uint32) >> 16).astype(np.uint16)
    parts = bits.reshape(blocks, 128, steps, 8, 8).transpose(0, 2, 1, 3, 4).copy()
    for line in range(128):
        parts[:, :, line] = parts[:, :, line][:, :, np.arange(8) ^ line % 8]
    return parts


@pytest.mark.parametrize("by_wgmma", [False, True])
@pytest.mark.parametrize(
    ("tile_rows", "multiprocessors"), [(16, 0), (32, 0), (64, 0), (16, 2), (64, 2)]
)
@pytest.mark.parametrize(
    ("n_queries", "n_rows", "d"),
    [(1, 1, 1), (130, 2200, 3), (9, 1500, 70), (3, 900, 130), (70, 300, 400), (130, 530, 520)],
)
def test_every_value_of_the_screen(
    screens: ModuleType,
    n_queries: int,
    n_rows: int,
    d: int,
    tile_rows: int,
    multiprocessors: int,
    by_wgmma: bool,
) -> None:
    """Sums of small integers are exact, in whatever order. Without multiprocessors strips are long,
    and stages go round the ring."""
    rng = np.random.default_rng(0)
    queries, rows = rng.integers(-4, 5, (n_queries, d)), rng.integers(-4, 5, (n_rows, d))
    norms = np.full(-(-n_rows // 256) * 256, -np.inf, np.float32)
    norms[:n_rows] = -rng.integers(0, 5 * d, n_rows)
    blocks = image_blocks(queries, 128), image_blocks(rows, 256)
    sizes = n_queries, n_rows, d, tile_rows, multiprocessors
    got = screens.screen_values(*blocks, norms, *sizes, by_wgmma)
    values = (queries @ rows.T + norms[:n_rows]).astype(np.float32)
    expected = np.maximum.reduceat(values, np.arange(0, n_rows, tile_rows), axis=1)
    assert_same_bits(got, expected)


# ---- search -----------------------------------------------------------------------------------


def check_search(
    x: Any, y: Any, k: int, relation: str, queries: Any, metric: str = "euclidean", **options: Any
) -> None:
    got = ex.neighbors(x, y, k, relation, queries, metric, "cuda", **options)
    expected = ex.neighbors(x, y, k, relation, queries, metric, "reference")
    assert_same_search(got, expected, f"{metric} {relation}")


@pytest.mark.parametrize("data", sorted(MAKERS))
def test_every_kind_of_data(searching: ModuleType, data: str) -> None:
    kinds = cycle(product(METRICS, RELATIONS))
    for dtype, (metric, relation) in zip(DTYPES, kinds, strict=False):
        x, y = make_data(data, "five_classes_sorted", 49, 9, dtype, metric, 0)
        check_search(x, y, 4, relation, [0, 16, 48], metric)


@pytest.mark.parametrize("labeling", sorted(LABELINGS))
def test_every_labeling(searching: ModuleType, labeling: str) -> None:
    x, y = make_data("small_integers", labeling, 257, 5, "float32", "euclidean", 0)
    for relation in RELATIONS:
        check_search(x, y, 7, relation, [256, 3, 3, 100, 64])


@pytest.mark.parametrize("d", [1, 7, 8, 31, 32, 33, 65, 256, 300])
def test_every_feature_count(searching: ModuleType, d: int) -> None:
    x, y = make_data("shifted_1e4", "two_classes", 140, d, "float32", "cosine", 0)
    check_search(x, y, 5, "enemy", [0, 139], "cosine")


def test_many_rows_and_blocks_of_queries(searching: ModuleType) -> None:
    x, y = make_data("normal", "one_in_twenty", 1500, 3, "float32", "euclidean", 0)
    order = np.argsort(y, kind="stable")
    assert searching.describe_tiles(1500, 140, 3, 3, budget=30_000)["queries_at_a_time"] < 140
    index = ex.Index(x[order], y[order], backend="cuda", memory_budget=MINIMUM_BUDGET)
    index._budget = 30_000
    for relation in ("enemy", "friend"):
        rows = np.r_[1360:1500]
        got = index.search_rows(rows, 3, relation)
        expected = ex.neighbors(x[order], y[order], 3, relation, rows, backend="reference")
        assert_same_search(got, expected, relation)


@pytest.mark.parametrize("d", [1, 8])
def test_points_whose_distance_underflows(searching: ModuleType, d: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, (40, d)) * 5e-324
    for magnitude in (1e-170, 3e-162, 1e-100, 1e149):
        q = rng.standard_normal((3, d)) * magnitude
        got, expected = (
            ex.Index(x, backend=backend).search(q, k=4, relation="any")
            for backend in ("cuda", "reference")
        )
        assert_same_search(got, expected, str(magnitude))


@pytest.mark.parametrize("k", [1, 7, 200])
def test_rows_that_stand_many_times(emulated: ModuleType, k: int) -> None:
    """Of equal rows those of the lowest numbers count, in whichever round they are measured."""
    rng = np.random.default_rng(0)
    n = 1900
    y = np.arange(n) % 2 if k > 1 else rng.integers(0, 5, n)
    x = rng.standard_normal((n, 2)).astype(np.float32)
    x[rng.random(n) < 0.8] = 0.0
    zeros = np.flatnonzero(~x.any(axis=1))
    for relation in RELATIONS:
        check_search(x, y, k, relation, [*zeros[[0, 150, -1]], int(np.argmax(x[:, 0]))])


def test_more_neighbors_than_shared_memory_holds(searching: ModuleType) -> None:
    x, y = make_data("small_integers", "two_classes", 3700, 3, "float32", "euclidean", 0)
    assert not searching.describe_tiles(3700, 1, 3, 3600)["candidates_in_shared_memory"]
    check_search(x, y, 3600, "any", [7])


def test_points_that_are_no_rows(searching: ModuleType) -> None:
    x, y = blobs(dtype="float16")
    q = np.concatenate([x[:3].astype(np.float64) + 1e-9, np.full((1, 6), 1e140)])
    got, expected = (
        ex.Index(x, y, backend=backend).search(q, [0, 7, 2, 1], 5, "friend")
        for backend in ("cuda", "reference")
    )
    assert_same_search(got, expected)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_outgrow_the_device(
    searching: ModuleType, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    # Two stretches at once would not fit, nor would all queries, nor their results.
    from expansive.backends import cuda_search

    memory = 320_000
    monkeypatch.setenv("EMULATED_MEMORY", str(memory))
    length = cuda_search.stretch_length(1500, 6, 8, "euclidean", memory)
    assert 700 < length < 1500
    x, y = make_data("small_integers", "five_classes_sorted", 1500, 6, "float64", metric, 0)
    asked = [0, 1499, 800]
    check_search(x, y, 60, "friend", asked, metric)
    check_search(x, y, 6, "enemy", asked * 60, metric)


def test_queries_pass_in_parts(searching: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATED_MEMORY", str(120_000))
    x, y = make_data("small_integers", "two_classes", 50, 3, "float32", "euclidean", 0)
    check_search(x, y, 40, "any", np.tile(np.arange(50), 5))
    q = np.random.default_rng(0).standard_normal((200, 3))
    labels = np.resize([0, 1, 2], 200)
    got, expected = (
        ex.Index(x, y, backend=backend).search(q, labels, 40, "friend")
        for backend in ("cuda", "reference")
    )
    assert_same_search(got, expected)


def test_too_little_memory_is_said_once(
    searching: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMULATED_MEMORY", "1000")
    x, y = blobs()
    with pytest.raises(RuntimeError, match="allocating device memory"):
        ex.neighbors(x, y, 3, backend="cuda")
    monkeypatch.delenv("EMULATED_MEMORY")
    check_search(x, y, 3, "enemy", None)


# ---- arrays on the device ---------------------------------------------------------------------


def on_device(array: Any, dtype: str) -> DeviceArray:
    """Pass host memory off as the device's, which for the emulation it is."""

    def allocate(shape: tuple[int, ...], dtype: str) -> DeviceArray:
        return on_device(np.full(shape, 77, dtype.replace("bfloat16", "uint16")), dtype)

    return DeviceArray(array.ctypes.data, array.shape, dtype, 0, 0, array, allocate)


def test_rows_on_the_device_give_results_there(emulated: ModuleType) -> None:
    x, y = blobs()
    rows = Rows(on_device(x, "float32"), "float32", lambda result: result)
    codes = y.astype(np.int64)
    assert cuda.scan(rows, 1) == reference.scan(as_rows(x), 1)
    assert cuda.fingerprint(rows, 1) == reference.fingerprint(as_rows(x), 1)
    index = cuda.build_index(
        rows,
        float(np.abs(x).max()),
        codes,
        3,
        "euclidean",
        Expected(57, 4, "enemy"),
        1,
        MINIMUM_BUDGET,
    )
    found = index.search(rows, codes, np.arange(57), 4, "enemy", 1, MINIMUM_BUDGET)
    assert all(isinstance(array, DeviceArray) for array in found)
    expected = ex.neighbors(x, y, 4, "enemy", backend="reference")
    assert_same_search((found[0].owner, found[1].owner), expected)


def test_labels_come_with_the_rows(emulated: ModuleType) -> None:
    x, y = blobs()
    plan = ex.SynthesisPlan.eos(x, y, k=3, backend="reference")
    numbers = np.array([0, 5, 40, 27, 28])
    out, labels = np.empty((5, 6), np.float32), np.empty(5, np.int64)
    rows = Rows(on_device(x, "float32"), "float32", lambda result: result)
    target = Rows(on_device(out, "float32"), "float32", lambda result: result)
    cuda.synthesize(rows, plan._partners, numbers, target, 1, on_device(labels, "int64"))
    assert_same_bits(out, plan.generate_rows(x, numbers))
    assert_same_bits(plan.classes[labels], plan.labels_of(numbers))


# ---- synthesis --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_draw_follows_the_contract(emulated: ModuleType, seed: int) -> None:
    p: Partners = tables(seed)
    base, partner, weight = cuda.draw(p, np.array(ROWS), np.float32)
    drawn = list(zip(base.tolist(), partner.tolist(), weight.tolist(), strict=True))
    assert drawn == [draw_by_hand(p, row) for row in ROWS]
    wide = cuda.draw(tables(seed, -0.1, 1.3), np.array(ROWS), np.float64)
    for got, expected in zip(
        wide, reference.draw(tables(seed, -0.1, 1.3), np.array(ROWS), np.float64), strict=True
    ):
        assert_same_bits(got, expected)


@pytest.mark.parametrize("d", [1, 16, 19])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_have_the_bits_of_the_reference(emulated: ModuleType, dtype: str, d: int) -> None:
    x, y = blobs(d=d, dtype=dtype)
    x[:5] = cast(x[:5].astype(np.float64) * 1e-40, dtype)
    x[5:9] = cast(x[5:9].astype(np.float64) * 1e30, dtype)
    expected = ex.SynthesisPlan.eos(x, y, k=3, seed=3, expansion=(-0.5, 1.5), backend="reference")
    plan = ex.SynthesisPlan(expected._contents, "cuda")
    for out_dtype in DTYPES:
        for rows in (np.arange(3, 40), np.array([50, 2, 2, 49])):
            got = plan.generate_rows(x, rows, dtype=out_dtype)
            assert_same_bits(got, expected.generate_rows(x, rows, dtype=out_dtype), out_dtype)


@pytest.mark.parametrize("d", [1, 3, 8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_scan_and_fingerprint(emulated: ModuleType, dtype: str, d: int) -> None:
    x = cast(np.random.default_rng(0).normal(size=(41, d)), dtype)
    for bad in (None, np.nan, -np.inf):
        if bad is not None:
            x[[30, 17], d - 1] = bad
        rows = as_rows(x)
        assert cuda.scan(rows, 1) == reference.scan(rows, 1)
        assert cuda.fingerprint(rows, 1) == reference.fingerprint(rows, 1)


def test_a_fingerprint_begins_anywhere(emulated: ModuleType) -> None:
    raw = np.frombuffer(np.random.default_rng(0).bytes(204), np.uint16)
    for start in range(4):
        part = np.ascontiguousarray(raw[start : start + 98]).reshape(14, 7)
        shifted = np.empty(102, np.uint16)[start : start + 98].reshape(14, 7)
        shifted[...] = part
        rows = Rows(on_device(shifted, "bfloat16"), "bfloat16", lambda result: result)
        assert cuda.fingerprint(rows, 1) == reference.fingerprint(Rows(part, "bfloat16", list), 1)


@pytest.mark.parametrize("size", [0, 5, (1 << 26) + (9 << 20) + 3])
def test_uploads_wait_for_a_buffer_before_they_fill_it(
    emulated: ModuleType, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """More than all pinned buffers hold, while no copy ends by itself."""
    monkeypatch.setenv("EMULATED_BUSY", "1")
    sent = np.frombuffer(np.random.default_rng(0).bytes(size), np.uint8)
    memory, arrived = emulated.Memory(0, size + 1, 0), np.empty_like(sent)
    emulated.upload(0, memory.address, sent, 0)
    emulated.download(0, arrived, memory.address, 0)
    assert np.array_equal(arrived, sent)


# ---- the compiled module ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "arch", "registers"),
    [("select", "80", None), ("screen_wide", "80", None), ("screen_wide", "90a", 168)],
)
def test_kernels_compile_in_silence(
    source: str, arch: str, registers: int | None, tmp_path: Path
) -> None:
    """Where there is nvcc. ptxas says what it does not do: wait for products, or keep registers."""
    nvcc = shutil.which(os.environ.get("CUDACXX", "nvcc"))
    if nvcc is None:
        return
    folder = HERE.parent / "csrc"
    flags = ["-std=c++17", "-O3", "-fmad=false", "--expt-relaxed-constexpr", "-Xptxas=-v"]
    flags += ["-Xcompiler=-Wall,-Wextra", f"--generate-code=arch=compute_{arch},code=sm_{arch}"]
    folders = [f"-I{folder}", f"-I{folder / 'include'}"]
    command = [nvcc, *flags, *folders, "-c", folder / "cuda" / f"{source}.cu", "-o", tmp_path / "o"]
    done = subprocess.run(command, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "arning" not in said
    assert "Potential Performance Loss" not in said
    spills = re.findall(r"(\d+) bytes spill", said)
    assert set(spills) == {"0"}
    if registers is not None:
        assert set(re.findall(r"Used (\d+) registers", said)) == {str(registers)}


def test_the_compiled_module_loads_without_a_driver() -> None:
    """Where it was built: in CI, that is where nvcc was found."""
    found = importlib.util.find_spec("expansive._cuda")
    if found is None:
        assert "not built" in str(cuda.unavailable())
        return
    assert found.origin is not None
    assert ctypes.CDLL(found.origin) is not None
    reason = cuda.unavailable()
    assert reason is None or "built" not in reason
