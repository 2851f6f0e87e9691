import gzip
import importlib
import io
import subprocess
import sys

import numpy as np
import pytest

from expansive import datasets
from expansive.files import save_arrays

pytestmark = pytest.mark.train


# ---- named sets -------------------------------------------------------------------------------


def test_digits_are_split_the_same_way_every_time():
    train, test = datasets.load("digits"), datasets.load("digits", "test")
    assert train.x.shape == (1438, 8, 8, 1)
    assert test.x.shape == (359, 8, 8, 1)
    assert train.x.dtype == np.uint8
    assert train.classes == [str(c) for c in range(10)]
    np.testing.assert_array_equal(train.x, datasets.load("digits").x)
    shares = np.bincount(test.y) / np.bincount(datasets.load("digits", "all").y)
    np.testing.assert_allclose(shares, 0.2, atol=0.005)
    together = np.concatenate([train.x, test.x]).reshape(1797, -1)
    every = datasets.load("digits", "all").x.reshape(1797, -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, every))


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def fashion(tmp_path):
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 20), ("t10k", 10)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", np.arange(n, dtype=np.uint8) % 10)
    return tmp_path


def test_fashion_mnist_from_a_folder(fashion):
    train = datasets.load("fashion-mnist", root=fashion)
    assert train.x.shape == (20, 28, 28, 1)
    assert train.y.tolist() == list(range(10)) * 2
    assert train.classes[9] == "Ankle boot"
    assert len(datasets.load("fashion-mnist", "test", root=fashion).y) == 10
    assert len(datasets.load("fashion-mnist", "all", root=fashion).y) == 30


def test_fashion_mnist_from_the_environment(fashion, monkeypatch):
    monkeypatch.setenv("EXPANSIVE_DATA", str(fashion))
    assert len(datasets.load("fashion-mnist", "test").y) == 10


def test_fashion_mnist_absent_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dataset-fashion-mnist.*EXPANSIVE_DATA"):
        datasets.load("fashion-mnist", root=tmp_path)


def test_a_broken_idx_file_is_named(fashion):
    path = fashion / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"train-images.* is broken"):
        datasets.load("fashion-mnist", root=fashion)
    path.write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\0\0\0\x05" * 3 + b"short"))
    with pytest.raises(ValueError, match="is no IDX file of 3 axes"):
        datasets.load("fashion-mnist", root=fashion)


# ---- files and folders ------------------------------------------------------------------------


def test_array_files_keep_label_names_and_are_split(tmp_path):
    x = np.arange(40.0).reshape(20, 2)
    names = np.array(["cat", "dog"] * 10)
    save_arrays(tmp_path / "a.npz", x, names)
    every = datasets.load(tmp_path / "a.npz", "all")
    np.testing.assert_array_equal(every.x, x)
    assert every.classes == ["cat", "dog"]
    assert every.y[:3].tolist() == [0, 1, 0]
    test = datasets.load(tmp_path / "a.npz", "test")
    assert np.bincount(test.y).tolist() == [2, 2]


def test_arrays_are_taken_by_their_names_and_labels_from_a_file_of_their_own(tmp_path):
    x, y = np.arange(12.0).reshape(4, 3), np.array([1, 0, 1, 0])
    np.savez(tmp_path / "a.npz", rows=x, kinds=y, x=-x, y=1 - y)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    for data in (
        datasets.load(tmp_path / "a.npz", "all", x_key="rows", y_key="kinds"),
        datasets.load(tmp_path / "x.npy", "all", labels=tmp_path / "y.npy"),
    ):
        np.testing.assert_array_equal(data.x, x)
        np.testing.assert_array_equal(data.y, y)


def test_a_class_of_one_row_cannot_be_split(tmp_path):
    save_arrays(tmp_path / "a.npz", np.zeros((3, 2)), np.array([0, 0, 1]))
    with pytest.raises(ValueError, match="class '1' has 1 row, which cannot be split"):
        datasets.load(tmp_path / "a.npz")


def save_image(path, value, size=(6, 5), mode="RGB"):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def test_image_folder(tmp_path):
    for i in range(5):
        save_image(tmp_path / "red" / f"{i}.png", (200, i, 0))
        save_image(tmp_path / "grey" / f"{i}.png", 7, mode="L")
    data = datasets.load(tmp_path, "all")
    assert data.x.shape == (10, 5, 6, 3)
    assert data.classes == ["grey", "red"]
    assert data.x[0, 0, 0].tolist() == [7, 7, 7]
    assert data.x[-1, 0, 0].tolist() == [200, 4, 0]
    assert np.bincount(datasets.load(tmp_path, "test").y).tolist() == [1, 1]
    assert datasets.load(tmp_path, "all", image_size=3).x.shape == (10, 3, 3, 3)


def test_image_folder_with_its_own_split(tmp_path):
    save_image(tmp_path / "train" / "a" / "0.png", 1, mode="L")
    save_image(tmp_path / "test" / "a" / "0.png", 2, mode="L")
    assert datasets.load(tmp_path, "train").x.max() == 1
    assert datasets.load(tmp_path, "test").x.max() == 2
    assert datasets.load(tmp_path, "all").x.shape == (2, 5, 6, 1)


def test_bad_image_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="holds no images; it needs one folder per class"):
        datasets.load(tmp_path)
    save_image(tmp_path / "a" / "0.png", (1, 2, 3))
    save_image(tmp_path / "a" / "1.png", (1, 2, 3), size=(9, 9))
    with pytest.raises(ValueError, match=r"2 different sizes.*give image_size"):
        datasets.load(tmp_path)
    (tmp_path / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1\.png' is no readable image"):
        datasets.load(tmp_path)


@pytest.mark.parametrize(("suffix", "order"), [("png", "<"), ("tiff", "<"), ("tiff", ">")])
def test_of_16_bit_images_the_upper_bits_are_kept(tmp_path, suffix, order):
    from PIL import Image

    pixels = np.array([[0, 255, 256], [4096, 32767, 65535]], f"{order}u2")
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / f"0.{suffix}")
    data = datasets.load(tmp_path, "all")
    assert data.x.dtype == np.uint8
    assert data.x[0, :, :, 0].tolist() == [[0, 0, 1], [16, 127, 255]]
    assert datasets.load(tmp_path, "all", image_size=4).x.shape == (1, 4, 4, 1)


@pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", 70000)])
def test_images_of_32_bits_are_refused(tmp_path, mode, value):
    save_image(tmp_path / "a" / "0.tiff", value, mode=mode)
    with pytest.raises(ValueError, match=rf"0\.tiff' has pixels of 32 bits .*'{mode}'.* 8 bits"):
        datasets.load(tmp_path, "all")


@pytest.mark.parametrize("channels", [1, 3])
def test_images_in_the_order_of_torch_are_refused(tmp_path, channels):
    np.savez(tmp_path / "a.npz", x=np.zeros((10, channels, 8, 6)), y=np.arange(10) % 2)
    with pytest.raises(ValueError, match=r"a\.npz' holds .*save x\.transpose\(0, 2, 3, 1\)"):
        datasets.load(tmp_path / "a.npz", "all")


@pytest.mark.parametrize("shape", [(8, 6, 3), (3, 8, 4), (1, 1, 512), (8, 6, 12), (3,), (1,)])
def test_images_with_their_channels_last_and_features_are_taken(tmp_path, shape):
    np.savez(tmp_path / "a.npz", x=np.zeros((10, *shape)), y=np.arange(10) % 2)
    assert datasets.load(tmp_path / "a.npz", "all").x.shape == (10, *shape)


@pytest.mark.parametrize("name", ["mnist-fashion", "absent/", "./nowhere", "a/b/c", "photos.csv"])
def test_unknown_names_list_the_choices(name):
    with pytest.raises(ValueError, match=r"no data set or path .*'digits', 'fashion-mnist'"):
        datasets.load(name)


def test_unknown_split_lists_the_choices():
    with pytest.raises(
        ValueError, match="unknown split 'val'; choose one of 'train', 'test', 'all'"
    ):
        datasets.load("digits", "val")


# ---- the Hub (its library stands in for the network) ------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    library = importlib.import_module("datasets")
    answers = {}

    def load_dataset(name, split):
        answer = answers["answer"]
        if isinstance(answer, Exception):
            raise answer
        answers["asked"] = (name, split)
        return answer

    monkeypatch.setattr(library, "load_dataset", load_dataset)
    return answers


def hub_table(images, labels, names=("cat", "dog")):
    library = importlib.import_module("datasets")
    columns = {"picture": library.Image(), "kind": library.ClassLabel(names=list(names))}
    return library.Dataset.from_dict(
        {"picture": images, "kind": labels}, features=library.Features(columns)
    )


def test_hub_columns_are_found_by_type(hub):
    from PIL import Image

    hub["answer"] = hub_table([Image.new("RGB", (4, 3), (9, 8, v)) for v in range(3)], [1, 0, 1])
    data = datasets.load("someone/pets", "all")
    assert hub["asked"] == ("someone/pets", "train+test")
    assert data.x.shape == (3, 3, 4, 3)
    assert data.x[2, 0, 0].tolist() == [9, 8, 2]
    assert data.y.tolist() == [1, 0, 1]
    assert data.classes == ["cat", "dog"]
    with pytest.raises(ValueError, match=r"no column 'breed'.* among picture, kind"):
        datasets.load("someone/pets", y_key="breed")


def test_cifar10_is_fetched_from_the_hub(hub):
    from PIL import Image

    hub["answer"] = hub_table([Image.new("RGB", (32, 32)), Image.new("RGB", (32, 32))], [0, 1])
    assert datasets.load("cifar10", "test", image_size=8).x.shape == (2, 8, 8, 3)
    assert hub["asked"] == ("uoft-cs/cifar10", "test")


def test_hub_out_of_reach_is_told_from_a_name_it_does_not_have(hub):
    library = importlib.import_module("datasets")
    hub["answer"] = ConnectionError("no route")
    with pytest.raises(ConnectionError, match=r"cannot be reached for 'someone/pets'.*go online"):
        datasets.load("someone/pets")
    hub["answer"] = library.exceptions.DatasetNotFoundError("nothing there")
    with pytest.raises(ValueError, match="no public data set 'someone/pets'"):
        datasets.load("someone/pets")


def test_importing_datasets_needs_numpy_alone():
    code = (
        "import sys, expansive.datasets;"
        "print(sorted({'torch', 'sklearn', 'datasets', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_cifar10_as_jpeg_files_is_read_from_one_archive(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    content, images = {"classes": np.array(["cat", "ship"])}, {}
    for name, n in (("train", 5), ("test", 3)):
        files = []
        for level in rng.integers(0, 256, (n, 3)):
            stream = io.BytesIO()
            Image.new("RGB", (8, 8), tuple(level.tolist())).save(stream, "JPEG", quality=95)
            files.append(stream.getvalue())
            images.setdefault(name, []).append(level)
        content[f"{name}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        content[f"{name}_offsets"] = np.cumsum([0, *map(len, files)])
        content[f"{name}_labels"] = (np.arange(n) % 2).astype(np.uint8)
    np.savez(tmp_path / "c.npz", **content)

    def load(part):
        return datasets.load(f"cifar10-jpeg:{tmp_path / 'c.npz'}", part)

    test = load("test")
    assert test.x.shape == (3, 8, 8, 3)
    assert test.x.dtype == np.uint8
    assert test.classes == ["cat", "ship"]
    assert test.y.tolist() == [0, 1, 0]
    # One colour an image: lossy by no more than a few levels, and each at its place.
    assert np.abs(test.x.astype(int) - np.array(images["test"])[:, None, None]).max() <= 6
    assert load("train").y.dtype == np.int64
    assert len(load("all").y) == 8
    with pytest.raises(FileNotFoundError, match="cifar10-jpeg:PATH"):
        datasets.load("cifar10-jpeg:/nowhere.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="holds no CIFAR-10 as JPEG files"):
        datasets.load(f"cifar10-jpeg:{tmp_path / 'other.npz'}")


def test_missing_labels_are_no_class(tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.zeros((8, 3)), y=[0.0, np.nan] * 4)
    with pytest.raises(ValueError, match=r"y\[1\] is missing"):
        datasets.load(tmp_path / "rows.npz", "all")


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_features_with_a_large_mean_keep_their_differences(tmp_path, dtype):
    x = (2.0**40 + 8.0 * np.random.default_rng(0).normal(size=(50, 3))).astype(dtype)
    np.savez(tmp_path / "rows.npz", x=x, y=np.arange(50) % 2)
    rows = datasets.to_torch(datasets.load(tmp_path / "rows.npz", "all"))
    inputs = np.stack([rows[i][0].numpy() for i in range(50)])
    exact = (x - x.mean(axis=0)) / x.std(axis=0)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, exact, atol=1e-3)


@pytest.mark.parametrize("name", ["d.csv", "sub/d.csv"])
def test_a_file_of_another_kind_is_no_name_of_the_hub(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_text("a,b")
    with pytest.raises(ValueError, match=r"'\S*d\.csv' is a file of no known kind; .*read_csv"):
        datasets.load(name)
