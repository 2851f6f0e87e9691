import doctest
import pickle
import sys
from collections import Counter
from decimal import Decimal
from enum import Enum

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from imblearn.pipeline import make_pipeline
from imblearn.utils import estimator_checks as imblearn_checks
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks as sklearn_checks

from expansive import EOS, SynthesisPlan

# Runs only with SCIPY_ARRAY_API set, and for estimators that take other array libraries.
NOT_APPLICABLE = "check_array_api_input"


@pytest.fixture
def data():
    """Three classes of 60, 25 and 8 rows, float32."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([0, 1, 2], [60, 25, 8]))
    x = rng.normal(size=(len(y), 5)) + y[:, None]
    return x.astype(np.float32), y


@pytest.mark.parametrize(
    ("sampler", "check"),
    [
        pytest.param(sampler, check, id=f"{sampler.enemies}-{check.func.__name__}")
        for enemies, k in (("nearest", 10), ("neighborhood", 50))
        for sampler, check in imblearn_checks.estimator_checks_generator(
            EOS(random_state=0, enemies=enemies, k_neighbors=k)
        )
    ],
)
def test_imbalanced_learn_checks(sampler, check):
    check(sampler)


@pytest.mark.parametrize(
    ("sampler", "check"),
    [
        pytest.param(sampler, check, id=check.func.__name__)
        for sampler, check in sklearn_checks.estimator_checks_generator(EOS())
        if check.func.__name__ != NOT_APPLICABLE
    ],
)
def test_scikit_learn_checks(sampler, check):
    check(sampler)


def test_parameters_are_validated_and_names_kept():
    imblearn_checks.check_param_validation("EOS", EOS())
    imblearn_checks.check_dataframe_column_names_consistency("EOS", EOS())


def test_clone_keeps_every_parameter():
    sampler = EOS(
        sampling_strategy={1: 30},
        k_neighbors=3,
        enemies="neighborhood",
        expansion=(0.1, 0.4),
        random_state=7,
        n_jobs=1,
        backend="reference",
    )
    assert clone(sampler).get_params() == sampler.get_params()


def test_new_rows_lie_between_a_row_of_the_class_and_a_nearest_enemy(data):
    x, y = data
    sampler = EOS(k_neighbors=4, random_state=3)
    x_res, y_res = sampler.fit_resample(x, y)
    base, enemy, weight = sampler.plan_.recipe()
    new_x, new_y = x_res[len(x) :], y_res[len(y) :]

    np.testing.assert_array_equal(x_res[: len(x)], x)
    np.testing.assert_array_equal(y_res[: len(y)], y)
    np.testing.assert_array_equal(y[base], new_y)
    distance = pairwise_distances(x.astype(np.float64))
    distance[y[:, None] == y] = np.inf
    nearest = np.argsort(distance, axis=1)[:, :4]
    assert (nearest[base] == enemy[:, None]).any(axis=1).all()
    assert weight.min() >= 0
    assert weight.max() <= 1
    expected = (1 - weight)[:, None] * x[base] + weight[:, None] * x[enemy]
    np.testing.assert_allclose(new_x, expected, rtol=1e-5, atol=1e-6)
    assert len(np.unique(new_x, axis=0)) == len(new_x)


def test_expansion_bounds_the_weight(data):
    sampler = EOS(expansion=(0.25, 0.5), random_state=0)
    sampler.fit_resample(*data)
    weight = sampler.plan_.recipe().weight
    assert 0.25 <= weight.min() < 0.3
    assert 0.45 < weight.max() <= 0.5


def test_integer_random_state_is_the_seed_of_the_plan(data):
    x, y = data
    x_res, _ = EOS(random_state=11).fit_resample(x, y)
    plan = SynthesisPlan.eos(x, y, seed=11)
    np.testing.assert_array_equal(x_res[len(x) :], plan.generate(x))


def test_random_state_forms(data):
    def run(random_state):
        return EOS(random_state=random_state).fit_resample(*data)[0]

    generator = np.random.RandomState(5)
    first, second = run(generator), run(generator)
    np.testing.assert_array_equal(first, run(np.random.RandomState(5)))
    assert not np.array_equal(first, second)
    assert not np.array_equal(run(None), run(None))
    np.testing.assert_array_equal(run(np.int64(4)), run(4))


@pytest.mark.parametrize("n_jobs", [1, 2, -1, -2, -100])
def test_threads_do_not_change_the_result(data, n_jobs):
    expected = EOS(random_state=0).fit_resample(*data)[0]
    result = EOS(random_state=0, n_jobs=n_jobs).fit_resample(*data)[0]
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("auto", {0: 60, 1: 60, 2: 60}),
        ("not majority", {0: 60, 1: 60, 2: 60}),
        ("minority", {0: 60, 1: 25, 2: 60}),
        ("not minority", {0: 60, 1: 60, 2: 8}),
        ("all", {0: 60, 1: 60, 2: 60}),
        ({2: 33}, {0: 60, 1: 25, 2: 33}),
        ({2: 33.0}, {0: 60, 1: 25, 2: 33}),
        (lambda y: {1: 40, 2: Counter(y)[2]}, {0: 60, 1: 40, 2: 8}),
    ],
)
def test_sampling_strategies(data, strategy, expected):
    sampler = EOS(strategy, random_state=0)
    _, y_res = sampler.fit_resample(*data)
    assert Counter(y_res.tolist()) == expected
    added = {label: n for label, n in sampler.sampling_strategy_.items() if n}
    assert sampler.plan_.counts == added


def test_float_sampling_strategy_is_the_ratio_of_two_classes(data):
    x, y = data
    _, y_res = EOS(0.75, random_state=0).fit_resample(x, y == 2)
    assert Counter(y_res.tolist()) == {False: 85, True: 63}


def test_list_sampling_strategy_is_refused_as_for_all_over_samplers(data):
    with pytest.raises(ValueError, match="sampling_strategy"):
        EOS([1, 2]).fit_resample(*data)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8])
def test_dtype_and_memory_order_do_not_matter(data, dtype):
    x, y = data
    x = np.abs(10 * x).astype(dtype)
    x_res, y_res = EOS(random_state=0).fit_resample(np.asfortranarray(x), y)
    assert x_res.dtype == dtype
    assert y_res.dtype == y.dtype
    np.testing.assert_array_equal(x_res, EOS(random_state=0).fit_resample(x, y)[0])


@pytest.mark.parametrize(
    "name",
    [
        np.array(["plain", "rare", "rarest"]),
        np.array(["plain", "rare", "rarest"], dtype=object),
        np.array([-3, 5, 1 << 40]),
    ],
)
def test_labels_of_any_kind(data, name):
    x, y = data
    x_res, y_res = EOS(random_state=0).fit_resample(x, name[y])
    assert y_res.dtype == name.dtype
    assert Counter(y_res.tolist()) == dict.fromkeys(name.tolist(), 60)
    np.testing.assert_array_equal(x_res, EOS(random_state=0).fit_resample(x, y)[0])


def test_pandas_round_trip(data):
    x, y = data
    frame = pd.DataFrame(x, columns=list("abcde")).astype({"b": "float64"})
    labels = pd.Series(pd.Categorical.from_codes(y, ["x", "y", "z"]), name="kind")
    sampler = EOS(random_state=0)
    frame_res, labels_res = sampler.fit_resample(frame, labels)
    assert list(frame_res.dtypes) == list(frame.dtypes)
    assert list(frame_res.columns) == list("abcde") == list(sampler.feature_names_in_)
    assert labels_res.dtype == labels.dtype
    assert labels_res.name == "kind"
    assert dict(labels_res.value_counts()) == {"x": 60, "y": 60, "z": 60}


@pytest.mark.parametrize("label_dtype", [pl.Categorical, pl.Enum(["x", "y", "z"]), pl.String])
def test_polars_round_trip(data, label_dtype):
    x, y = data
    schema = dict.fromkeys("abcd", pl.Float32) | {"e": pl.Int16}
    frame = pl.DataFrame(x.astype(np.float64), schema=list("abcde")).cast(schema)
    labels = pl.Series("kind", np.array(["x", "y", "z"])[y], dtype=pl.String).cast(label_dtype)
    sampler = EOS(random_state=0)
    frame_res, labels_res = sampler.fit_resample(frame, labels)
    assert frame_res.schema == frame.schema
    assert frame_res[: len(frame)].equals(frame)
    assert labels_res.dtype == labels.dtype
    assert labels_res.name == "kind"
    assert Counter(labels_res.to_list()) == {"x": 60, "y": 60, "z": 60}
    assert list(sampler.feature_names_in_) == list("abcde")
    x_res = EOS(random_state=0).fit_resample(frame.to_numpy(), y)[0]
    np.testing.assert_array_equal(frame_res[:, :4].to_numpy(), x_res[:, :4].astype(np.float32))


def test_polars_indicators_and_mixed_libraries(data):
    x, y = data
    indicators = pl.DataFrame(np.eye(3, dtype=np.int64)[y], schema=["p", "q", "r"])
    x_res, y_res = EOS(random_state=0).fit_resample(x, indicators)
    assert isinstance(x_res, np.ndarray)
    assert y_res.schema == indicators.schema
    assert y_res.sum().row(0) == (60, 60, 60)


@pytest.mark.train
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "uint16"])
def test_torch_round_trip(data, dtype):
    import torch

    x, y = data
    rows = (
        torch.from_numpy(np.abs(10 * x)).to(getattr(torch, dtype)).requires_grad_("float" in dtype)
    )
    labels = torch.from_numpy(y).to(torch.int16)
    x_res, y_res = EOS(random_state=0).fit_resample(rows, labels)
    assert x_res.dtype == rows.dtype
    assert y_res.dtype == labels.dtype
    assert Counter(y_res.tolist()) == {0: 60, 1: 60, 2: 60}
    assert torch.equal(x_res[: len(rows)], rows)
    if "int" not in dtype:
        plan = SynthesisPlan.eos(rows, labels, seed=0)
        assert torch.equal(x_res[len(rows) :], plan.generate(rows))


@pytest.mark.train
def test_tensors_beside_other_libraries(data):
    import torch

    x, y = data
    x_res, y_res = EOS(random_state=0).fit_resample(torch.from_numpy(x), y)
    assert isinstance(x_res, torch.Tensor)
    assert isinstance(y_res, np.ndarray)
    indicators = torch.from_numpy(np.eye(3)[y])
    x_res, y_res = EOS(random_state=0).fit_resample(x, indicators)
    assert isinstance(x_res, np.ndarray)
    assert y_res.dtype == torch.float64
    assert y_res.sum(0).tolist() == [60, 60, 60]
    with pytest.raises(TypeError, match=r"X must be a dense tensor.*X\.float"):
        EOS().fit_resample(torch.from_numpy(x).to(torch.float8_e4m3fn), y)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_sparse_comes_back_sparse(data, kind):
    x, y = data
    x = np.where(x > 0, x, 0)
    x_res, _ = EOS(random_state=0).fit_resample(kind(x), y)
    assert isinstance(x_res, kind)
    assert x_res.dtype == np.float32
    np.testing.assert_array_equal(x_res.toarray(), EOS(random_state=0).fit_resample(x, y)[0])


def test_balanced_data_come_back_as_they_are(data):
    x = data[0][:60]
    y = np.repeat([0, 1], 30)
    x_res, y_res = EOS().fit_resample(x, y)
    np.testing.assert_array_equal(x_res, x)
    np.testing.assert_array_equal(y_res, y)


def test_a_class_of_one_row_and_a_large_k_are_fine(data):
    x, y = data
    y = np.where(y == 2, 1, y)
    y[0] = 9
    sampler = EOS(k_neighbors=1000, random_state=0)
    _, y_res = sampler.fit_resample(x, y)
    assert set(Counter(y_res.tolist()).values()) == {np.bincount(y).max()}
    base, enemy, _ = sampler.plan_.recipe()
    assert set(base[sampler.plan_.labels() == 9].tolist()) == {0}
    assert len(set(enemy[sampler.plan_.labels() == 9].tolist())) > 20


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"enemies": "far"}, "enemies"),
        ({"k_neighbors": 0}, "k_neighbors"),
        ({"k_neighbors": 2.5}, "k_neighbors"),
        ({"expansion": (0.0, np.inf)}, "expansion"),
        ({"expansion": (1.0, 0.0)}, "expansion"),
        ({"expansion": (0.5,)}, "expansion"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"backend": "abacus"}, "abacus.*choose one of"),
        ({"random_state": -1}, "random_state|seed"),
    ],
)
def test_bad_parameters(data, changed, message):
    with pytest.raises(ValueError, match=message):
        EOS(**changed).fit_resample(*data)


def test_bad_data(data):
    x, y = data
    with pytest.raises(ValueError, match="class"):
        EOS().fit_resample(x, np.zeros(len(y), int))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        EOS().fit_resample(x, y[:-1])
    for strategy in ({2: 33.5}, lambda y: {2: 33.5}):
        with pytest.raises(ValueError, match=r"asks for 33.5 rows of class 2; give an integer"):
            EOS(strategy).fit_resample(x, y)
    with pytest.raises(ValueError, match="a function that returned None"):
        EOS(lambda y: None).fit_resample(x, y)
    with pytest.raises(ValueError, match="greater or equal"):
        EOS({1: 3}).fit_resample(x, y)
    broken = x.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        EOS().fit_resample(broken, y)


def test_frames_that_are_no_numbers(data):
    x, y = data
    frame = pd.DataFrame(x, columns=list("abcde")).assign(town="Paris")
    for table in (frame, pl.from_pandas(frame)):
        with pytest.raises(TypeError, match="X must hold real numbers, not 'Paris' as in column"):
            EOS().fit_resample(table, y)
    for code in ("01234", b"01234", pd.Categorical(["01234"] * len(x))):
        with pytest.raises(TypeError, match=r"not b?'01234' as in column 'code'; encode .*drop"):
            EOS().fit_resample(frame.drop(columns="town").assign(code=code), y)
    lazy = pl.LazyFrame(x)
    with pytest.raises(TypeError, match=r"X is a LazyFrame of polars, .*pass X\.collect\(\)"):
        EOS().fit_resample(lazy, y)
    with pytest.raises(TypeError, match=r"y is a LazyFrame"):
        EOS().fit_resample(x, lazy)


def test_columns_of_objects_that_are_numbers(data):
    x, y = data
    expected, _ = EOS(random_state=0).fit_resample(x.astype(np.float64), y)
    frame = pd.DataFrame(x, columns=list("abcde")).astype(object)
    frame["b"] = list(map(Decimal, x[:, 1].tolist()))
    frame["c"] = pd.Series(list(x[:, 2]), dtype=object)
    for columns in (frame, frame.to_numpy()):
        made, _ = EOS(random_state=0).fit_resample(columns, y)
        np.testing.assert_array_equal(np.asarray(made, np.float64), expected)


@pytest.mark.parametrize(
    "column",
    [
        lambda x: pd.Series(list(x)),
        lambda x: pd.Series(x.tolist(), name="emb"),
        lambda x: pd.Series(list(x)).to_numpy(),
        lambda x: pl.Series(x.tolist()),
        lambda x: pl.Series(x),
    ],
)
def test_a_column_of_embeddings_is_refused(data, column):
    x, y = data
    rows = column(x)
    with pytest.raises(TypeError, match=r"^X is a column of arrays; pass np\.stack\(X\), one row"):
        EOS().fit_resample(rows, y)
    np.testing.assert_array_equal(np.stack(rows).astype(np.float32), x)
    made = [EOS(random_state=0).fit_resample(given, y)[0] for given in (x, list(x))]
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("library", [pd, pl])
def test_a_column_of_numbers_is_no_table(data, library):
    x, y = data
    for rows in (library.Series(x[:, 0]), library.Series([], dtype=object)):
        with pytest.raises(ValueError, match=r"Expected (a 2-dimensional container|2D array)"):
            EOS().fit_resample(rows, y)


def test_input_is_not_changed_and_may_be_read_only(data):
    x, y = (array.copy() for array in data)
    x.flags.writeable = y.flags.writeable = False
    x_res, _ = EOS(random_state=0).fit_resample(x, y)
    np.testing.assert_array_equal(x, data[0])
    assert not np.shares_memory(x_res, x)


def test_pipeline_cross_validated_finds_more_of_the_minority():
    x, y = make_classification(
        n_samples=400, weights=[0.93], class_sep=0.7, flip_y=0, random_state=1
    )
    model = LogisticRegression()
    plain = make_pipeline(StandardScaler(), model)
    sampled = make_pipeline(StandardScaler(), EOS(random_state=0), model)
    recall = [cross_val_score(p, x, y, scoring="recall", cv=3).mean() for p in (plain, sampled)]
    assert recall[1] > recall[0] + 0.1


def test_example_in_the_documentation():
    assert doctest.testmod(sys.modules[EOS.__module__]) == (0, 6)


def test_a_fitted_sampler_survives_pickling() -> None:
    x, y = make_classification(weights=[0.9], random_state=0)
    sampler = EOS(random_state=0)
    sampler.fit_resample(x, y)
    again = pickle.loads(pickle.dumps(sampler))
    assert np.array_equal(again.plan_.generate(x), sampler.plan_.generate(x))


class Word(str, Enum):
    COMMON = "common"
    RARE_A = "rare_a"
    RARE_B = "rare_b"


def test_a_list_of_labels_keeps_its_classes_apart(data) -> None:
    X, _ = data
    y = [*[Word.COMMON] * (len(X) - 30), *[Word.RARE_A] * 20, *[Word.RARE_B] * 10]
    resampled = EOS(random_state=0).fit_resample(X, y)[1]
    assert set(Counter(resampled).values()) == {len(X) - 30}
    assert set(resampled) == {"common", "rare_a", "rare_b"}
    y[3] = float("nan")
    with pytest.raises(ValueError, match=r"y\[3\] is missing"):
        EOS().fit_resample(X, y)


@pytest.mark.parametrize(
    "give",
    [
        lambda X: X,
        lambda X: torch.from_numpy(X),
        lambda X: pd.DataFrame(X, columns=list("abcd")).assign(other=0.5),
        lambda X: pd.DataFrame(X).astype("UInt8"),
        lambda X: pl.DataFrame(X),
        lambda X: sparse.csr_matrix(X),
    ],
)
def test_new_rows_that_a_type_may_not_hold_are_refused(give) -> None:
    X = np.random.default_rng(0).integers(0, 200, (60, 4)).astype(np.uint8)
    y = np.repeat([0, 1], [50, 10])
    with pytest.raises(ValueError, match=r"expansion is \(0, 2\), .* uint8, .*float64"):
        EOS(expansion=(0, 2)).fit_resample(give(X), y)
    EOS(expansion=(0, 1)).fit_resample(give(X), y)
    EOS(expansion=(-0.5, 2)).fit_resample(X.astype(np.int16), y)


def test_new_rows_beyond_float16_are_refused() -> None:
    X = np.random.default_rng(0).normal(scale=1e4, size=(60, 4)).astype(np.float16)
    with pytest.raises(ValueError, match="float16, the type of X"):
        EOS(expansion=(0, 3)).fit_resample(X, np.repeat([0, 1], [50, 10]))


def test_categories_and_masked_values_are_refused(data) -> None:
    X, y = data
    frame = pd.DataFrame(X).add_prefix("f").assign(group=pd.Categorical(np.arange(len(X)) % 5 * 10))
    with pytest.raises(TypeError, match=r"categorical column 'group'.*astype\(float\)"):
        EOS().fit_resample(frame, y)
    with pytest.raises(ValueError, match="X has masked values"):
        EOS().fit_resample(np.ma.masked_greater(X, 1.0), y)
    with pytest.raises(ValueError, match="y has masked values"):
        EOS().fit_resample(X, np.ma.masked_equal(y, y[0]))
