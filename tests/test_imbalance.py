import numpy as np
import pytest

from expansive import datasets

pytestmark = pytest.mark.train

Y = np.repeat(np.arange(10), 500)[np.random.default_rng(1).permutation(5000)]


def test_long_tail_has_the_published_class_sizes():
    # LDAM-DRW's CIFAR-10 long tail 100:1 (Cao et al. 2019): img_num_list of its cifar code.
    y = np.repeat(np.arange(10), 5000)
    sizes = np.bincount(y[datasets.long_tail(y, imbalance=100)])
    assert sizes.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_long_tail_default_size_is_what_every_class_can_give():
    y = np.repeat([0, 1, 2], [90, 100, 5])
    assert np.bincount(y[datasets.long_tail(y, imbalance=10)]).tolist() == [50, 15, 5]


def test_step_sizes():
    sizes = np.bincount(Y[datasets.step(Y, imbalance=10, minority=0.3)])
    assert sizes.tolist() == [500] * 7 + [50] * 3


@pytest.mark.parametrize("choose", [datasets.long_tail, datasets.step])
def test_indices_are_sorted_unique_and_seeded(choose):
    rows = choose(Y, imbalance=20, n_max=200, seed=3)
    assert rows.dtype == np.int64
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, choose(Y, imbalance=20, n_max=200, seed=3))
    assert not np.array_equal(rows, choose(Y, imbalance=20, n_max=200, seed=4))


@pytest.mark.parametrize("imbalance", [0.01, 0, -5, np.nan, np.inf])
def test_imbalance_below_one_is_refused(imbalance):
    for choose in (datasets.long_tail, datasets.step):
        with pytest.raises(ValueError, match="so 100 for 100:1"):
            choose(Y, imbalance=imbalance)


def test_sizes_that_a_class_cannot_give_are_refused():
    with pytest.raises(ValueError, match="asks for 501 of the 500 rows of class 0; choose a small"):
        datasets.long_tail(Y, n_max=501)
    with pytest.raises(ValueError, match="asks for 0 of the 500 rows of class 8; choose a larger"):
        datasets.long_tail(Y, n_max=50)
    with pytest.raises(ValueError, match=r"minority=0.01 makes 0 of 10"):
        datasets.step(Y, minority=0.01)
    with pytest.raises(ValueError, match=r"minority=0.97 makes 10 of 10"):
        datasets.step(Y, minority=0.97)
    for y in (np.zeros(5), Y.reshape(2, -1)):
        with pytest.raises(ValueError, match="at least two classes"):
            datasets.long_tail(y)


def test_an_imbalance_of_one_and_one_small_class_are_the_least():
    assert datasets.long_tail(Y, imbalance=1).tolist() == list(range(len(Y)))
    sizes = np.bincount(Y[datasets.step(Y, imbalance=10, minority=0.1)])
    assert sizes.tolist() == [500] * 9 + [50]


def test_string_labels_can_be_made_imbalanced():
    y = np.array(["b", "a"] * 50)
    chosen = y[datasets.long_tail(y, imbalance=10)]
    assert (chosen == "a").sum() == 50
    assert (chosen == "b").sum() == 5


def test_indices_are_saved_with_their_settings_and_labels(tmp_path):
    rows = datasets.long_tail(Y, imbalance=50)
    datasets.save_indices(tmp_path / "tail.npz", rows, Y, imbalance=50, seed=0)
    loaded, settings = datasets.load_indices(tmp_path / "tail.npz", Y)
    np.testing.assert_array_equal(loaded, rows)
    assert settings == {"imbalance": 50, "seed": 0}
    with pytest.raises(ValueError, match="made for other labels"):
        datasets.load_indices(tmp_path / "tail.npz", Y[::-1])


@pytest.mark.parametrize("damage", ["noise", "empty", "cut", "others"])
def test_what_is_no_file_of_indices_is_named(tmp_path, damage):
    path = tmp_path / "tail.npz"
    np.savez(path, indices=np.arange(300))
    if damage != "others":
        damaged = {"noise": b"noise", "empty": b"", "cut": path.read_bytes()[:200]}
        path.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match=r"tail\.npz' holds no subset written by save_indices"):
        datasets.load_indices(path, Y)


def test_an_imbalance_that_leaves_a_class_empty_says_how_much_would_do():
    with pytest.raises(
        ValueError, match=r"imbalance=1000 leaves no row of class 9: .* give 500 or"
    ):
        datasets.long_tail(Y, 1000)
    assert np.bincount(Y[datasets.long_tail(Y, 500)]).min() == 1
