import pickle

import numpy as np
import pytest

from expansive import datasets

pytestmark = pytest.mark.train


def colour_data(n=64, size=8):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (n, size, size, 3)).astype(np.uint8)
    x[..., 1] //= 4
    x[..., 2] = 5
    return datasets.ArrayData(x, np.arange(n) % 4, list("abcd"))


def batch_of(rows, indices):
    import torch

    return torch.stack([image for image, _ in rows.__getitems__(indices)])


def test_rows_are_normalised_by_channel():
    import torch

    rows = datasets.to_torch(colour_data())
    batch = batch_of(rows, list(range(64)))
    assert batch.shape == (64, 3, 8, 8)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    spread = batch.std((0, 2, 3), correction=0)
    torch.testing.assert_close(spread, torch.tensor([1.0, 1.0, 0.0]), atol=1e-5, rtol=0)
    assert rows[5][1] == 1
    assert rows.classes == ["a", "b", "c", "d"]
    torch.testing.assert_close(rows[5][0], batch[5])


def test_other_rows_are_normalised_like_the_training_rows():
    train = datasets.to_torch(colour_data())
    other = colour_data()
    brighter = datasets.ArrayData(other.x[:3] // 2, other.y[:3], other.classes)
    test = datasets.to_torch(brighter, like=train)
    expected = (brighter.x[0, 2, 3, 0] - train.mean[0]) / train.deviation[0]
    assert test[0][0][0, 2, 3].item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="normalised over 3 channels, the data has 1"):
        datasets.to_torch(datasets.load("digits"), like=train)
    renamed = datasets.ArrayData(brighter.x, brighter.y, ["new a", *other.classes[1:]])
    with pytest.raises(ValueError, match="class 0 is 'new a' in the data but 'a' in like"):
        datasets.to_torch(renamed, like=train)


def test_feature_vectors():
    data = datasets.ArrayData(np.array([[0.0, 10.0], [2.0, 30.0]]), np.array([0, 1]), ["a", "b"])
    rows = datasets.to_torch(data)
    assert rows[0][0].tolist() == [-1.0, -1.0]
    assert rows[1] == (pytest.approx([1.0, 1.0]), 1)
    with pytest.raises(ValueError, match="augment=True needs images"):
        datasets.to_torch(data, augment=True)


def test_augmentation_is_a_crop_of_the_padded_or_mirrored_image():
    import torch

    data = colour_data(n=3)
    plain = batch_of(datasets.to_torch(data), [0, 1, 2])
    torch.manual_seed(0)
    drawn = batch_of(datasets.to_torch(data, augment=True, padding=2), [0, 1, 2] * 60)
    seen = set()
    for row, image in enumerate(drawn):
        source = torch.nn.functional.pad(plain[row % 3], (2, 2, 2, 2))
        found = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if torch.equal(
                (lambda crop: crop.flip(2) if mirrored else crop)(
                    source[:, top : top + 8, left : left + 8]
                ),
                image,
            )
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 40


def test_augmentation_follows_the_seed_of_torch():
    import torch

    rows = datasets.to_torch(colour_data(), augment=True)
    torch.manual_seed(1)
    first = batch_of(rows, [0, 1, 2])
    second = batch_of(rows, [0, 1, 2])
    torch.manual_seed(1)
    assert torch.equal(batch_of(rows, [0, 1, 2]), first)
    assert not torch.equal(first, second)


def test_a_loader_takes_the_set_and_workers_can_be_sent_it():
    from torch.utils.data import DataLoader

    rows = pickle.loads(pickle.dumps(datasets.to_torch(colour_data())))
    images, labels = next(iter(DataLoader(rows, batch_size=16)))
    assert images.shape == (16, 3, 8, 8)
    assert labels.tolist() == [0, 1, 2, 3] * 4
