"""Plans in files: what is saved is what is loaded, and nothing else is a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import expansive as ex
from cases import PLAN_METHODS, all_backends, assert_same_bits, blobs

Plan = ex.SynthesisPlan

methods = pytest.mark.parametrize("method", PLAN_METHODS)


@all_backends
@methods
def test_a_saved_plan_is_the_same_plan(backend: str, method: str, tmp_path: Path) -> None:
    x, y = blobs()
    plan = PLAN_METHODS[method](x, y, seed=2**64 - 1, backend="reference")
    plan.save(tmp_path / "plan.npz")
    loaded = Plan.load(tmp_path / "plan.npz", backend=backend, threads=2)
    assert loaded.counts == plan.counts
    assert loaded.labels().tolist() == plan.labels().tolist()
    assert_same_bits(loaded.generate(x), plan.generate(x))
    with pytest.raises(ValueError, match="fingerprint differs"):
        loaded.generate(x + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.npz"]


def saved(folder: Path) -> Path:
    x, y = blobs()
    Plan.eos(x, y).save(folder / "plan.npz")
    return folder / "plan.npz"


def test_a_plan_is_read_without_pickle(tmp_path: Path) -> None:
    with np.load(saved(tmp_path), allow_pickle=False) as file:
        assert not any(file[name].dtype.hasobject for name in file.files)


def test_foreign_files_are_no_plans(tmp_path: Path) -> None:
    path = tmp_path / "foreign.npz"
    texts = [b"", b"hello", b"PK\x03\x04 and then something else", b"\x93NUMPY"]
    for content in texts:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"foreign\.npz.*no readable synthesis plan"):
            Plan.load(path)
    np.save(tmp_path / "foreign.npy", np.eye(3))
    np.savez(path, x=np.eye(3))
    for foreign in (tmp_path / "foreign.npy", path):
        with pytest.raises(ValueError, match="no readable synthesis plan"):
            Plan.load(foreign)
    for settings_text in ("[]", "{", '{"format": 1}', "null"):
        np.savez(path, settings=np.array(settings_text))
        with pytest.raises(ValueError, match="no readable synthesis plan"):
            Plan.load(path)
    with pytest.raises(FileNotFoundError):
        Plan.load(tmp_path / "none.npz")


def test_a_cut_or_garbled_plan_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 23):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="no readable synthesis plan"):
            Plan.load(path)
    rng = np.random.default_rng(0)
    x, _ = blobs()
    path.write_bytes(whole)
    expected = Plan.load(path).generate(x)
    harmless = 0
    for position in rng.integers(0, len(whole), 60):
        garbled = bytearray(whole)
        garbled[position] ^= 0xFF
        path.write_bytes(garbled)
        plan = load_or_none(path)  # a byte of a date or an attribute may change without harm
        if plan is not None:
            harmless += 1
            assert_same_bits(plan.generate(x), expected)
    assert harmless < 15


def load_or_none(path: Path) -> Any:
    try:
        return Plan.load(path)
    except ValueError:
        return None


@pytest.mark.parametrize("bits", [b"\xff", b"\x01", b"\x08"])
def test_any_garbled_byte_of_the_directory_is_refused_or_harmless(
    tmp_path: Path, bits: bytes
) -> None:
    path = saved(tmp_path)
    whole = path.read_bytes()
    for position in range(whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")):
        garbled = bytearray(whole)
        garbled[position] ^= bits[0]
        path.write_bytes(garbled)
        load_or_none(path)  # raises what is no ValueError


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("bases", lambda a: a + 10**9),
        ("bases", lambda a: -1 - a),
        ("bases", lambda a: np.full_like(a, 57)),
        ("bases", lambda a: a[:-1]),
        ("bases", lambda a: a.astype(float)),
        ("partners", lambda a: a + 57),
        ("partners", lambda a: a[:-1]),
        ("partner_start", lambda a: a[::-1]),
        ("partner_start", lambda a: a * 2),
        ("partner_start", lambda a: a * 0),
        ("partner_start", lambda a: np.r_[a[0], a[0], a[2:]]),
        ("base_start", lambda a: a + 1),
        ("base_start", lambda a: a[:-1]),
        ("sample_start", lambda a: a[:, None]),
        ("sample_start", lambda a: -a),
        ("sample_start", lambda a: np.r_[1, a[1:]]),
        ("sample_start", lambda a: a.astype(float)),
        ("base_start", lambda a: a.astype(float)),
        ("partner_start", lambda a: a.astype(float)),
        ("partners", lambda a: a[:, None]),
        ("classes", lambda a: a[:1]),
    ],
)
def test_a_plan_that_points_outside_is_refused(table: str, change: Any, tmp_path: Path) -> None:
    path = saved(tmp_path)
    with np.load(path) as file:
        stored = dict(file)
    stored[table] = change(stored[table])
    np.savez(path, **stored)
    with pytest.raises(ValueError, match="no readable synthesis plan"):
        Plan.load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format 2, this version reads 1"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 0.5}, "seed must be"),
        ({"low": None}, "expansion must be two"),
        ({"low": float("nan")}, "expansion must be two"),
        ({"high": -1.0}, "expansion must be two"),
        ({"high": 1e300}, "expansion must be two"),
        ({"dtype": "int8"}, "unknown dtype 'int8'"),
        ({"shape": [57.0, 6]}, "shape must be an integer"),
        ({"shape": [57]}, "not enough values"),
        ({"shape": [5, 6]}, "holds numbers that are no rows"),
    ],
)
def test_a_plan_of_wrong_settings_is_refused(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = saved(tmp_path)
    with np.load(path) as file:
        stored = dict(file)
    settings = json.loads(str(stored["settings"])) | change
    np.savez(path, **stored | {"settings": np.array(json.dumps(settings))})
    with pytest.raises(ValueError, match=rf"plan\.npz.*no readable synthesis plan.*{said}"):
        Plan.load(path)


def test_a_plan_that_cannot_be_saved_leaves_nothing_behind(tmp_path: Path) -> None:
    x, y = blobs()
    plan = Plan.eos(x, y)
    with pytest.raises(FileNotFoundError, match="missing"):
        plan.save(tmp_path / "missing" / "plan.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(OSError, match=r"folder\.npz"):
        plan.save(tmp_path / "folder.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npz"]
    dates = np.arange(3).astype("M8[D]").astype(object)[y]
    (tmp_path / "plan.npz").write_text("older")
    with pytest.raises(TypeError, match="labels of type date cannot be saved"):
        Plan.eos(x, dates).save(tmp_path / "plan.npz")
    assert (tmp_path / "plan.npz").read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 2
