"""Arrays on a device: taken in place, given back there. The device is host memory, pretended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import expansive as ex
import fake_device
from cases import DTYPES, assert_same_bits, cast
from expansive import arrays
from expansive.arrays import DeviceArray
from expansive.arrays.libraries import Cupy, Torch
from expansive.backends import cpu, registry
from fake_device import STREAM, CupyArray, Foreign

pytestmark = pytest.mark.train

LIBRARIES = ["torch", "cupy"]


@pytest.fixture(autouse=True)
def _pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_device.pretend_cuda(monkeypatch)
    fake_device.pretend_cupy(monkeypatch)


def on_device(x: np.ndarray[Any, Any], library: str) -> Any:
    return CupyArray(x) if library == "cupy" else Torch.upload(torch.empty(0), bits(x))


def bits(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return x.view(np.uint16) if x.dtype.name == "bfloat16" else x


def down(x: Any) -> np.ndarray[Any, Any]:
    """Read a result of either library; bfloat16 as its bits."""
    assert isinstance(x, CupyArray | torch.Tensor)
    return bits(x.host) if isinstance(x, CupyArray) else Torch.to_host(x)


def matrix(dtype: str = "float32", n: int = 60, d: int = 5) -> np.ndarray[Any, Any]:
    return cast(np.random.default_rng(0).normal(size=(n, d)), dtype)


Y = np.arange(60) % 5 == 0

# ---- taken in place ---------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_stay_where_they_are(library: str, dtype: str) -> None:
    x = on_device(matrix(dtype), library)
    rows = arrays.as_rows(x, device=True)
    data = rows.data
    assert isinstance(data, DeviceArray)
    assert data.pointer == (x.data.ptr if library == "cupy" else x.data_ptr())
    assert (data.shape, data.dtype, data.device, data.stream) == ((60, 5), dtype, 0, STREAM)
    assert (rows.shape, rows.dtype, rows.device, len(data)) == ((60, 5), dtype, "cuda:0", 60)
    assert arrays.as_rows(rows, device=True) is rows
    assert arrays.device_of(x) == arrays.device_of(rows) == "cuda:0"


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_can_be_brought_down(library: str, dtype: str) -> None:
    x = matrix(dtype)
    given = on_device(x, library)
    there = arrays.as_rows(given, device=True)
    for rows in (arrays.as_rows(given), there.on_host(), arrays.as_rows(there)):
        assert rows.device == "cpu"
        assert_same_bits(rows.data, bits(x))
        assert_same_bits(down(rows.wrap(rows.data)), bits(x))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_picked_and_their_largest_values(library: str, dtype: str) -> None:
    x = matrix(dtype)
    rows = arrays.as_rows(on_device(x, library), device=True)
    picked = rows.take(np.array([3, 0, 3]))
    assert picked.device == "cuda:0"
    assert_same_bits(picked.on_host().data, bits(x)[[3, 0, 3]])
    expected = np.abs(x.astype(np.float64)).max(axis=1)
    assert rows.largest_in_rows().tolist() == expected.tolist()


def test_torch_is_preferred_where_it_reaches_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Torch, "adopt", staticmethod(lambda x: torch.from_numpy(x.host)))
    data = arrays.as_rows(Foreign(matrix()), device=True).data
    assert isinstance(data.owner, torch.Tensor)


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_must_be_copied_is_copied_on_the_device(library: str) -> None:
    x = matrix()
    turned = CupyArray(x.T) if library == "cupy" else torch.from_numpy(x).t()
    rows = arrays.as_rows(turned, device=True)
    assert_same_bits(fake_device.memory(rows.data), x.T.copy())
    numbers = np.arange(6).reshape(2, 3)
    rows = arrays.as_rows(on_device(numbers, library), device=True)
    assert rows.data.dtype == "float64"
    assert fake_device.memory(rows.data).tolist() == numbers.tolist()


def test_memory_comes_from_the_callers_allocator() -> None:
    for library, kind in (("torch", torch.Tensor), ("cupy", CupyArray)):
        given = arrays.as_rows(on_device(matrix(), library), device=True).data
        for dtype in (*DTYPES, "int64"):
            made = given.allocate((2, 3), dtype)
            assert isinstance(made.owner, kind)
            assert (made.shape, made.dtype, made.device, made.stream) == ((2, 3), dtype, 0, STREAM)


def test_rows_on_the_host_stay_there() -> None:
    x = matrix()
    rows = arrays.as_rows(x, device=True)
    assert rows.device == "cpu"
    assert np.shares_memory(rows.data, x)
    found = arrays.as_rows(torch.from_numpy(x), device=True)
    assert_same_bits(rows.wrap(found.data), x)


@pytest.mark.parametrize("device", [False, True])
@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (torch.zeros(3), ValueError, r"x must be a matrix .*\(3,\)"),
        (torch.zeros(0, 3), ValueError, "x is empty"),
        (torch.zeros(2, 3, dtype=torch.complex64), TypeError, "x must hold real.*complex64"),
    ],
)
def test_bad_matrices(x: Any, error: type[Exception], match: str, device: bool) -> None:
    with pytest.raises(error, match=match):
        arrays.as_rows(x, device=device)


# ---- other libraries --------------------------------------------------------------------------


def test_a_third_library_gets_its_own_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through CuPy, because torch reaches no device here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    x = matrix()
    dist, idx = ex.nearest_enemies(Foreign(x), Y, 3)
    assert set(fake_device.places) == {"cuda:0"}
    assert isinstance(dist, Foreign)
    expected = ex.nearest_enemies(x, Y, 3)
    assert_same_bits(dist.host, expected[0])
    assert_same_bits(idx.host, expected[1])
    on_host = ex.nearest_enemies(Foreign(x), Y, 3, backend="cpu")
    assert_same_bits(on_host[1].host, expected[1])


def test_a_third_library_needs_torch_or_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.setattr(Cupy, "reaches_devices", lambda: False)
    with pytest.raises(ImportError, match=r"x lies on a CUDA device.*torch or CuPy.*install one"):
        arrays.as_rows(Foreign(matrix()), device=True)


def test_an_array_over_several_devices_is_left_to_its_library() -> None:
    class Spread(Foreign):
        def __dlpack_device__(self) -> Any:
            raise BufferError("spread over two devices")

        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            return self.host

    assert arrays.device_of(Spread(matrix())) == "cpu"
    assert arrays.as_rows(Spread(matrix()), device=True).device == "cpu"


# ---- which backend ----------------------------------------------------------------------------


def test_data_on_a_device_prefer_its_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    x = on_device(matrix(), "torch")
    monkeypatch.setitem(registry._MODULES, "triton", "expansive.backends.reference")
    assert registry.backend_for(x) is fake_device
    assert registry.default_backend_name(on_device=True) == "cuda"
    monkeypatch.setattr(fake_device, "unavailable", lambda: "no driver")
    assert registry.default_backend_name(on_device=True) == "triton"
    with pytest.raises(RuntimeError, match="'cuda' cannot run here: no driver"):
        ex.nearest_enemies(x, Y, 1, backend="cuda")
    monkeypatch.setitem(registry._MODULES, "triton", "fake_device")
    assert registry.backend_for(x) is cpu
    assert isinstance(ex.nearest_enemies(x, Y, 1)[0], torch.Tensor)


def test_data_on_the_host_stay_there_unless_asked() -> None:
    x = matrix()
    assert registry.backend_for(x) is cpu
    expected = ex.nearest_enemies(x, Y, 3)
    assert fake_device.places == []
    found = ex.nearest_enemies(x, Y, 3, backend="cuda")
    assert set(fake_device.places) == {"cpu"}
    assert_same_bits(found[1], expected[1])


# ---- search -----------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("queries", [None, [7, 2, 7]])
def test_search_on_the_device(library: str, dtype: str, queries: Any) -> None:
    x = matrix(dtype)
    labels = on_device(Y.astype(np.int64), library)
    found = ex.nearest_enemies(on_device(x, library), labels, 3, queries=queries)
    assert set(fake_device.places) == {"cuda:0"}
    for mine, theirs in zip(found, ex.nearest_enemies(x, Y, 3, queries=queries), strict=True):
        assert_same_bits(down(mine), theirs)


@pytest.mark.parametrize("library", LIBRARIES)
def test_results_are_where_the_queries_are(library: str) -> None:
    x, q = matrix(), matrix(n=4)
    index = ex.Index(x, Y)
    expected = index.search(q, k=2, relation="any")
    found = index.search(on_device(q, library), k=2, relation="any")
    assert_same_bits(down(found[1]), expected[1])
    index = ex.Index(on_device(x, library), Y)
    assert_same_bits(down(index.search(on_device(q, library), k=2, relation="any")[0]), expected[0])
    assert_same_bits(index.search(q, k=2, relation="any")[0], expected[0])
    nothing = index.search(on_device(q[:0], library), k=2, relation="any")
    assert [down(array).shape for array in nothing] == [(0, 2), (0, 2)]
    empty = index.search_rows([], k=2)
    assert down(empty[0]).shape == (0, 2)
    assert_same_bits(
        index.find_rows([1], 2, "enemy")[1], ex.Index(x, Y).find_rows([1], 2, "enemy")[1]
    )


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("queries", [None, [1, 5]])
def test_a_search_goes_to_the_stream_that_is_current_then(
    library: str, queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = ex.Index(on_device(matrix(), library), Y)
    monkeypatch.setattr(fake_device, "STREAM", STREAM + 1)
    fake_device.streams.clear()
    index.search_rows(queries, k=2)
    assert fake_device.streams == [STREAM + 1]


def test_queries_on_another_device_are_refused() -> None:
    index = ex.Index(on_device(matrix(), "cupy"), Y)
    with pytest.raises(ValueError, match="q lies on cuda:1 but the index on cuda:0"):
        index.search(CupyArray(matrix(n=2), 1), k=1, relation="any")


@pytest.mark.parametrize("library", LIBRARIES)
def test_bad_values_are_found_on_the_device(library: str) -> None:
    x = matrix()
    x[4] = 0
    with pytest.raises(ValueError, match=r"x\[4\] is all zeros"):
        ex.Index(on_device(x, library), metric="cosine")
    x[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"x\[7\] holds NaN"):
        ex.nearest_enemies(on_device(x, library), Y, 1)
    assert set(fake_device.places) == {"cuda:0"}


# ---- synthesis --------------------------------------------------------------------------------

METHODS: dict[str, Callable[..., ex.SynthesisPlan]] = {
    "eos": ex.SynthesisPlan.eos,
    "smote": ex.SynthesisPlan.smote,
    "random": ex.SynthesisPlan.random,
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_plans_are_made_and_used_on_the_device(library: str, dtype: str, method: str) -> None:
    x = matrix(dtype)
    host, there = METHODS[method](x, Y), METHODS[method](on_device(x, library), Y)
    assert host.recipe()[1].tolist() == there.recipe()[1].tolist()
    assert set(fake_device.places) == {"cuda:0"}
    given = on_device(x, library)
    for plan in (host, there):
        fake_device.places.clear()
        assert_same_bits(down(plan.generate(given)), bits(host.generate(x)))
        assert set(fake_device.places) == {"cuda:0"}
    wide = there.generate(given, 2, 5, dtype="float64")
    assert_same_bits(down(wide), host.generate(x, 2, 5, dtype="float64"))


@pytest.mark.parametrize("library", LIBRARIES)
def test_out_on_the_device(library: str) -> None:
    x = matrix()
    plan = ex.SynthesisPlan.eos(x, Y)
    out = on_device(np.zeros((plan.n_samples, 5), np.float16), library)
    assert plan.generate(on_device(x, library), out=out) is out
    assert_same_bits(down(out), plan.generate(x, dtype="float16"))


def bad_outputs() -> dict[str, tuple[Callable[[Any], Any], type[Exception], str]]:
    return {
        "on the host": (lambda x: np.zeros((36, 5), "f4"), ValueError, "out lies on cpu.* cuda:0"),
        "another device": (lambda x: CupyArray(matrix(n=36), 1), ValueError, "out lies on cuda:1"),
        "shape": (lambda x: torch.zeros(35, 5), ValueError, r"\(35, 5\); it must be \(36, 5\)"),
        "dtype": (lambda x: torch.zeros(36, 5).half(), TypeError, "out holds float16 but dtype"),
        "integers": (lambda x: torch.zeros(36, 5).long(), ValueError, "out must be a contiguous"),
        "turned": (lambda x: torch.zeros(5, 36).t(), ValueError, "out must be a contiguous"),
        "foreign": (lambda x: Foreign(matrix(n=36)), ValueError, "out must be a contiguous"),
        "x itself": (lambda x: x[24:], ValueError, "out overlaps x"),
    }


@pytest.mark.parametrize("case", bad_outputs())
def test_bad_out(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, error, match = bad_outputs()[case]
    if case == "foreign":
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    x = torch.from_numpy(matrix())
    plan = ex.SynthesisPlan.eos(x, Y)
    assert plan.n_samples == 36
    with pytest.raises(error, match=match):
        plan.generate(x, out=make(x), dtype="float32")


def test_out_on_the_device_needs_rows_made_there() -> None:
    x = matrix()
    plan = ex.SynthesisPlan.eos(x, Y)
    with pytest.raises(ValueError, match="out lies on cuda:0, but the rows are made on cpu"):
        plan.generate(x, out=torch.zeros(36, 5))
    plan = ex.SynthesisPlan.eos(x, Y, backend="cpu")
    with pytest.raises(ValueError, match="out lies on cuda:0, but the rows are made on cpu"):
        plan.generate(torch.from_numpy(x), out=torch.zeros(36, 5))


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_fingerprint_is_looked_at_once(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = on_device(matrix(), library)
    plan = ex.SynthesisPlan.eos(x, Y)
    hashed: list[int] = []
    real = fake_device.fingerprint

    def count(rows: Any, threads: int) -> int:
        hashed.append(len(rows.data))
        return real(rows, threads)

    monkeypatch.setattr(fake_device, "fingerprint", count)
    plan.generate(x, 0, 2)
    first = len(hashed)
    for start in range(5):
        plan.generate(x, start, start + 2)
    assert len(hashed) - first == (0 if library == "torch" else 5)  # CuPy counts no writes
    if library == "torch":
        x[59, 4] += 1
    else:
        x.host[59, 4] += 1
    with pytest.raises(ValueError, match="fingerprint differs"):
        plan.generate(x, 0, 2)


def test_tensors_of_inference_mode_count_no_writes() -> None:
    with torch.inference_mode():
        x = torch.from_numpy(matrix()).clone()
        plan = ex.SynthesisPlan.eos(x, Y)
        plan.generate(x, 0, 2)
        x[59, 4] += 1
        with pytest.raises(ValueError, match="fingerprint differs"):
            plan.generate(x, 0, 2)
