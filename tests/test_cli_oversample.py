import numpy as np
import pytest

from command_line import imbalanced, run
from expansive import files
from expansive.files import SUFFIXES
from expansive.synthesis import SynthesisPlan

pytestmark = pytest.mark.train


@pytest.fixture
def source(tmp_path):
    files.save_arrays(tmp_path / "in.npz", *imbalanced())
    return tmp_path / "in.npz"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_oversample_writes_the_rows_and_the_plan_in_every_format(source, tmp_path, capsys, suffix):
    target = tmp_path / f"out{suffix}"
    labels = tmp_path / "out_y.npy" if suffix == ".npy" else None
    extra = ["--out-labels", labels] if labels else []
    status, shown, _ = run(capsys, "oversample", source, target, "--seed", 3, "--k", 4, *extra)
    assert status == 0
    assert "40 rows of 3 features, and 35 synthetic ones" in shown
    x, y = imbalanced()
    plan = SynthesisPlan.eos(x, y, k=4, seed=3)
    made_x, made_y = files.load_arrays(target, labels=labels)
    assert made_x.dtype == np.float32
    np.testing.assert_array_equal(made_x, np.concatenate([x, plan.generate(x, 0, 35)]))
    np.testing.assert_array_equal(made_y, np.concatenate([y, plan.labels(0, 35)]))
    assert np.bincount(made_y).tolist() == [25, 25, 25]


def test_oversample_in_slices_gives_the_same_rows(source, tmp_path, capsys, monkeypatch):
    from expansive.cli import commands

    run(capsys, "oversample", source, tmp_path / "whole.npz")
    monkeypatch.setattr(commands, "ROWS_PER_SLICE", 7)
    run(capsys, "oversample", source, tmp_path / "sliced.npz")
    whole, sliced = (files.load_arrays(tmp_path / f"{name}.npz") for name in ("whole", "sliced"))
    np.testing.assert_array_equal(whole[0], sliced[0])
    np.testing.assert_array_equal(whole[1], sliced[1])


@pytest.mark.parametrize(
    ("strategy", "make"),
    [
        ("eos", SynthesisPlan.eos),
        ("smote", SynthesisPlan.smote),
        ("random", SynthesisPlan.random),
    ],
)
def test_oversample_draws_from_as_many_neighbours_as_the_method(
    source, tmp_path, capsys, strategy, make
):
    run(capsys, "oversample", source, tmp_path / "o.npz", "--method", strategy)
    x, y = imbalanced()
    made, _ = files.load_arrays(tmp_path / "o.npz")
    np.testing.assert_array_equal(made[40:], make(x, y).generate(x, 0, 35))


def test_oversample_a_mapped_npy_of_images_to_half_precision(tmp_path, capsys):
    x, y = imbalanced()
    images = np.repeat(x[:, :, None, None], 2, axis=3)
    files.save_arrays(tmp_path / "x.npy", images, y, labels=tmp_path / "y.npy")
    status, _, _ = run(
        capsys,
        *("oversample", tmp_path / "x.npy", tmp_path / "o.npz"),
        *("--labels", tmp_path / "y.npy", "--dtype", "float16"),
    )
    assert status == 0
    made, _ = files.load_arrays(tmp_path / "o.npz")
    assert made.shape == (75, 3, 1, 2)
    assert made.dtype == np.float16


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        *(("bool", "float32"), ("uint8", "float32"), ("int16", "float32")),
        *(("int32", "float64"), ("int64", "float64"), ("uint64", "float64")),
        *(("float16", "float16"), ("float64", "float64")),
    ],
)
def test_oversample_writes_the_rows_of_in_as_they_are(tmp_path, capsys, kind, written):
    x, y = imbalanced()
    x = (1000 * x).astype(kind)
    if np.dtype(kind).kind in "iu":
        x[0] = np.iinfo(kind).max >> 11 if kind.endswith("64") else np.iinfo(kind).max
    files.save_arrays(tmp_path / "in.npz", x, y)
    assert run(capsys, "oversample", tmp_path / "in.npz", tmp_path / "o.npz")[0] == 0
    made, _ = files.load_arrays(tmp_path / "o.npz")
    assert made.dtype == written
    np.testing.assert_array_equal(made[:40], x)


def test_oversample_bfloat16(tmp_path, capsys):
    import torch
    from safetensors.torch import save_file

    x, y = (torch.from_numpy(array) for array in imbalanced())
    save_file({"x": x.bfloat16(), "y": y}, tmp_path / "in.safetensors")
    target = tmp_path / "out.safetensors"
    assert run(capsys, "oversample", tmp_path / "in.safetensors", target)[0] == 0
    made, _ = files.load_arrays(target)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made[:40], x.bfloat16().float().numpy())


def test_oversample_a_table_leaves_its_index_out(tmp_path, capsys):
    import pandas as pd

    x, y = imbalanced()
    frame = pd.DataFrame(x, columns=["a", "b", "c"], index=np.arange(40) * 1000).assign(y=y)
    frame.to_parquet(tmp_path / "in.parquet")
    assert run(capsys, "oversample", tmp_path / "in.parquet", tmp_path / "out.parquet")[0] == 0
    made = pd.read_parquet(tmp_path / "out.parquet")
    assert made.columns.tolist() == ["a", "b", "c", "y"]
    np.testing.assert_array_equal(made[["a", "b", "c"]][40:], SynthesisPlan.eos(x, y).generate(x))


def test_oversample_a_table_keeps_its_columns(tmp_path, capsys):
    import pandas as pd

    x, y = imbalanced()
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(kind=np.array(["p", "q", "r"])[y])
    frame.to_parquet(tmp_path / "in.parquet")
    target = tmp_path / "out.parquet"
    status, _, _ = run(capsys, "oversample", tmp_path / "in.parquet", target, "--y-key", "kind")
    assert status == 0
    made = pd.read_parquet(target)
    assert made.columns.tolist() == ["a", "b", "c", "kind"]
    assert made["kind"].value_counts().to_dict() == {"p": 25, "q": 25, "r": 25}


def test_an_unwritable_output_is_refused_before_the_input_is_read(tmp_path, capsys):
    status, _, error = run(capsys, "oversample", tmp_path / "absent.npz", tmp_path / "no" / "o.npz")
    assert status == 2
    assert "no' does not exist; create it first" in error


def test_errors_are_one_line_and_leave_no_file(source, tmp_path, capsys):
    cases = [
        (["--y-key", "target"], "has no 'target'; it holds x, y"),
        (["--k", "0"], "k must be an integer of at least 1; got 0"),
        (["--backend", "abacus"], "unknown backend 'abacus'; choose one of"),
    ]
    for arguments, message in cases:
        status, _, error = run(capsys, "oversample", source, tmp_path / "o.npz", *arguments)
        assert status == 2
        assert error.startswith("expansive: ")
        assert message in error
        assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.npz"]


# ---- which rows, and how many -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ("minority", [25, 10, 25]),
        ("not minority", [25, 25, 5]),
        ("all", [25, 25, 25]),
        ("1=12,2=20", [25, 12, 20]),
        ('{"1": 12, "2": 20}', [25, 12, 20]),
        ("{}", [25, 10, 5]),
    ],
)
def test_oversample_as_many_rows_as_asked_for(source, tmp_path, capsys, given, counts):
    target = tmp_path / "o.npz"
    assert run(capsys, "oversample", source, target, "--sampling-strategy", given)[0] == 0
    assert np.bincount(files.load_arrays(target)[1]).tolist() == counts


def test_oversample_classes_by_their_words_and_to_a_share(tmp_path, capsys):
    x, y = imbalanced()
    source, target = tmp_path / "in.npz", tmp_path / "o.npz"
    for name, strategies in {
        "a=b": (("a=b=21", 21), ("0.8", 20), ('{"a=b": 22}', 22)),
        "a, b": (('{"a, b": 21}', 21), ("0.8", 20)),
        "{a": (("{a=21", 21), ('{"{a": 22}', 22)),
    }.items():
        files.save_arrays(source, x, np.array(["cat", name, name])[y])
        for given, count in strategies:
            assert run(capsys, "oversample", source, target, "--sampling-strategy", given)[0] == 0
            assert np.count_nonzero(files.load_arrays(target)[1] == name) == count


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("most", "unknown --sampling-strategy 'most'; choose one of auto, minority, not minority"),
        ("0.5", "is a share of the larger of two classes, but there are 3; give rows of classes"),
        ("3=50", "--sampling-strategy '3=50' names no class; they are 0, 1, 2"),
        ("1=20,2", "--sampling-strategy '2' names no class"),
        ("1=many", "'1=many' must be a number of rows of at least 10, which class 1 has"),
        ("1=9", "'1=9' must be a number of rows of at least 10, which class 1 has"),
        ('{"1": 9}', "'1=9' must be a number of rows of at least 10, which class 1 has"),
        ('{"1": 20.5}', "'1=20.5' must be a number of rows of at least 10"),
        ('{"1": {"a": 2}}', "must be a number of rows of at least 10"),
        ('{"3": 50}', "--sampling-strategy '3=50' names no class; they are 0, 1, 2"),
        ('{"1": 20, "1": 30}', "names '1' twice"),
        ("{1: 20}", """is no JSON (Expecting property name"""),
        ("{1: 20}", """; write it as '{"cat": 500, "dog": 300}'"""),
    ],
)
def test_a_strategy_that_makes_no_sense_is_refused(source, tmp_path, capsys, given, message):
    target = tmp_path / "o.npz"
    status, _, error = run(capsys, "oversample", source, target, "--sampling-strategy", given)
    assert (status, message in error) == (2, True), error


@pytest.mark.parametrize("share", ["0.5", "1.5", "nan"])
def test_a_share_outside_of_what_is_there_is_refused(tmp_path, capsys, share):
    x, y = imbalanced()
    files.save_arrays(tmp_path / "in.npz", x, np.minimum(y, 1))
    arguments = (tmp_path / "in.npz", tmp_path / "o.npz", "--sampling-strategy", share)
    status, _, error = run(capsys, "oversample", *arguments)
    assert (status, "a share of the larger class, from the 0.6 that is there to 1" in error) == (
        2,
        True,
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("random", "--k", 3), "--method random takes no --k; leave it out, or choose --method"),
        (("random", "--enemies", "nearest"), "takes no --enemies; leave it out, or choose --m"),
        (("smote", "--enemies", "neighborhood"), "or choose --method eos"),
        (("random", "--expansion", 0, 1), "choose --method eos or smote"),
    ],
)
def test_an_option_that_the_method_ignores_is_refused(source, tmp_path, capsys, given, message):
    status, _, error = run(capsys, "oversample", source, tmp_path / "o.npz", "--method", *given)
    assert (status, message in error) == (2, True), error


def test_oversample_passes_on_what_the_method_takes(source, tmp_path, capsys):
    x, y = imbalanced()
    target = tmp_path / "o.npz"
    given = ("--enemies", "neighborhood", "--k", 20, "--expansion", -0.5, 0.5)
    assert run(capsys, "oversample", source, target, *given)[0] == 0
    plan = SynthesisPlan.eos(x, y, k=20, enemies="neighborhood", expansion=(-0.5, 0.5))
    np.testing.assert_array_equal(files.load_arrays(target)[0][40:], plan.generate(x))


# ---- what is refused, and what is left of it --------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "given", "message"),
    [
        (1e5, ("--dtype", "float16"), "float16, which ends at 65504; choose --dtype float32"),
        (2e4, ("--dtype", "float16", "--expansion", 50, 90), "synthetic rows are beyond float16"),
        (1e30, ("--expansion", 1e20, 1e20), "synthetic rows are beyond float32, which ends at"),
    ],
)
def test_rows_beyond_the_type_written_are_refused(tmp_path, capsys, factor, given, message):
    x, y = imbalanced()
    files.save_arrays(tmp_path / "in.npz", x * np.float32(factor), y)
    target = tmp_path / "o.npz"
    target.write_bytes(b"of an earlier run")
    status, _, error = run(capsys, "oversample", tmp_path / "in.npz", target, *given)
    assert (status, message in error) == (2, True), error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz", "o.npz"]
    assert target.read_bytes() == b"of an earlier run"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named_whatever_the_type(tmp_path, capsys, value):
    x, y = imbalanced()
    x[7, 1] = value
    files.save_arrays(tmp_path / "in.npz", x, y)
    arguments = (tmp_path / "in.npz", tmp_path / "o.npz", "--dtype", "float16")
    status, _, error = run(capsys, "oversample", *arguments)
    assert (status, "[7" in error) == (2, True), error


def test_a_format_that_cannot_hold_the_rows_is_refused_before_the_search(
    tmp_path, capsys, monkeypatch
):
    x, y = imbalanced()
    files.save_arrays(tmp_path / "words.npz", x, y.astype(str))
    files.save_arrays(tmp_path / "images.npz", x[:, :, None], y)
    monkeypatch.delattr(SynthesisPlan, "by_method")
    for source, target, message in (
        ("words.npz", "o.safetensors", "labels are strings; encode them"),
        ("images.npz", "o.parquet", "rows [n, d], but x has the shape (40, 3, 1)"),
    ):
        status, _, error = run(capsys, "oversample", tmp_path / source, tmp_path / target)
        assert (status, message in error) == (2, True), error


@pytest.fixture
def npy(tmp_path):
    x, y = imbalanced()
    files.save_arrays(tmp_path / "x.npy", x, y, labels=tmp_path / "y.npy")
    return tmp_path / "x.npy", tmp_path / "y.npy"


def test_rows_and_labels_are_not_written_over_those_that_are_read(npy, tmp_path, capsys):
    x, y = npy
    (tmp_path / "link.npy").symlink_to(x)
    before = x.read_bytes(), y.read_bytes()
    for out, out_labels, message in (
        (tmp_path / "o.npy", x, "--out-labels '{}x.npy' is IN, which it would replace; name an"),
        (tmp_path / "o.npy", tmp_path / "link.npy", "--out-labels '{}link.npy' is IN"),
        (tmp_path / "o.npy", y, "--out-labels '{}y.npy' is the file of --labels, which it would"),
        (x, x, "must be another .npy"),
        (x, tmp_path / "oy.npy", "OUT '{}x.npy' is IN, which it would replace; name another file"),
        (tmp_path / "link.npy", tmp_path / "oy.npy", "OUT '{}link.npy' is IN"),
        (y, tmp_path / "oy.npy", "OUT '{}y.npy' is the file of --labels, which it would replace"),
    ):
        given = ("--labels", y, "--out-labels", out_labels)
        status, _, error = run(capsys, "oversample", x, out, *given)
        assert (status, message.format(f"{tmp_path}/") in error) == (2, True), error
    assert (x.read_bytes(), y.read_bytes()) == before


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".safetensors"])
def test_rows_are_not_written_over_themselves(tmp_path, capsys, monkeypatch, suffix):
    source = tmp_path / f"a{suffix}"
    files.save_arrays(source, *imbalanced())
    before = source.read_bytes()
    monkeypatch.chdir(tmp_path)
    for target in (source, source.name, f"../{tmp_path.name}/{source.name}"):
        status, _, error = run(capsys, "oversample", source, target)
        assert (status, f"OUT '{target}' is IN, which it would replace" in error) == (2, True)
    assert source.read_bytes() == before


def test_a_missing_file_of_labels_is_named_by_its_option(npy, tmp_path, capsys):
    x, y = npy
    npz = tmp_path / "a.npz"
    for arguments, message in (
        (("oversample", x, tmp_path / "o.npy", "--labels", y), "name it with --out-labels"),
        (("oversample", x, tmp_path / "o.npz"), "name it with --labels"),
        (("oversample", x, npz, "--out-labels", y), "--out-labels"),
        (("gap", x, x), "name it with --train-labels"),
        (("gap", x, x, "--train-labels", y), "name it with --test-labels"),
    ):
        status, _, error = run(capsys, *arguments)
        assert (status, message in error) == (2, True), error


def test_a_missing_array_is_named_with_the_options_that_choose_it(tmp_path, capsys):
    x, y = imbalanced()
    np.savez(tmp_path / "in.npz", X=x, labels=y)
    status, _, error = run(capsys, "oversample", tmp_path / "in.npz", tmp_path / "o.npz")
    assert (status, "no 'x'; it holds X, labels; name yours with" in error) == (2, True), error
    assert "--x-key and --y-key" in error


@pytest.mark.parametrize("command", ["oversample", "gap"])
@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_file_without_rows_is_refused(tmp_path, capsys, command, suffix):
    x, y = imbalanced()
    source = tmp_path / f"in{suffix}"
    files.save_arrays(source, x[:0], y[:0])
    status, _, error = run(capsys, command, source, tmp_path / f"other{suffix}")
    assert (status, f"in{suffix}' holds no rows: its shape is (0, 3)" in error) == (2, True), error
