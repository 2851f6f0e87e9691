"""The generative over-samplers of the benchmarks, on images of 8 x 8 pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from gan import Bagan, ConditionalGan, Gamo, GanOversampler, balance

pytestmark = pytest.mark.train

torch.set_num_threads(1)

GANS = [ConditionalGan, Bagan, Gamo]
COUNTS = (20, 7, 1)


def images(channels: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Grey noise, darker from class to class; the last class has one image."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(COUNTS)), COUNTS)
    noise = rng.integers(0, 40, (len(labels), 8, 8, channels))
    return (noise + 215 - 100 * labels[:, None, None, None]).astype(np.uint8), labels


def small(make: type[GanOversampler], steps: int = 3, seed: int = 0) -> GanOversampler:
    return make(latent=4, width=8, batch_size=16, lr=2e-3).fit(*images(), seed=seed, steps=steps)


@pytest.mark.parametrize("make", GANS)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_each_small_class(make: type[GanOversampler], channels: int) -> None:
    x, y = images(channels)
    gan = make(latent=4, width=4, batch_size=8).fit(x, y, epochs=1)
    for label in (1, 2):
        made = gan.generate(label, 5)
        assert made.shape == (5, 8, 8, channels)
        assert made.dtype == np.uint8
    assert gan.generate(1, 0).shape == (0, 8, 8, channels)
    assert all(np.isfinite(loss) for loss in gan.losses.values())
    assert gan.n_parameters > 1000


@pytest.mark.parametrize("make", GANS)
def test_the_seed_decides_and_the_global_generator_is_left_alone(
    make: type[GanOversampler],
) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (small(make, seed=seed).generate(1, 4) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())
    gan = small(make)
    assert not np.array_equal(gan.generate(1, 4, seed=1), gan.generate(1, 4, seed=2))


@pytest.mark.parametrize("make", GANS)
def test_a_class_looks_like_its_rows(make: type[GanOversampler]) -> None:
    x, y = images()
    gan = small(make, steps=150)
    brightness = [gan.generate(label, 64).mean() for label in (1, 2)]
    assert abs(brightness[0] - x[y == 1].mean()) < 40
    assert abs(brightness[1] - x[y == 2].mean()) < 40


@pytest.mark.parametrize("make", GANS)
def test_balance_appends_until_all_classes_are_equal(make: type[GanOversampler]) -> None:
    x, y = images()
    more, labels = balance(small(make), x, y)
    assert np.bincount(labels).tolist() == [20, 20, 20]
    assert np.array_equal(more[: len(x)], x)
    assert np.array_equal(labels[: len(y)], y)


def test_gamo_stays_in_the_convex_hull_of_a_class() -> None:
    x, y = images()
    gan = small(Gamo)
    made = gan.generate(1, 50).astype(int)
    own = x[y == 1].astype(int)
    assert (made >= own.min(0)).all()
    assert (made <= own.max(0)).all()
    assert (gan.generate(2, 5) == x[y == 2]).all()
    with pytest.raises(ValueError, match=r"label must be a class but the largest.*got 0"):
        gan.generate(0, 1)


def test_bagan_begins_from_an_autoencoder() -> None:
    x, y = images()
    gan = Bagan(latent=4, width=8, batch_size=16, lr=2e-3)
    gan.fit(x, y, steps=100)
    # Codes of classes this different lie far apart beside their spread.
    spread = gan.factors[0].diagonal().norm()
    assert (gan.means[0] - gan.means[2]).norm() > 2 * spread
    assert torch.linalg.cond(gan.factors[2]) < 100  # of one row, so only by the ridge


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x.astype(np.float32), y), "images must be uint8"),
        (lambda x, y: (x[..., 0], y), "images must be uint8"),
        (lambda x, y: (x[:, :6, :6], y), "multiple of 4"),
        (lambda x, y: (x[:, :4], y), "square"),
        (lambda x, y: (x, y[:-1]), "labels must be 28 class numbers"),
        (lambda x, y: (x, np.where(y == 1, 5, y)), "labels must be 28 class numbers"),
        (lambda x, y: (x, y - 1), "labels must be 28 class numbers"),
    ],
)
def test_bad_images_are_refused(change: object, message: str) -> None:
    assert callable(change)
    with pytest.raises(ValueError, match=message):
        ConditionalGan().fit(*change(*images()))


def test_bad_lengths_and_calls_are_refused() -> None:
    x, y = images()
    with pytest.raises(ValueError, match="epochs must be at least 1; got 0"):
        ConditionalGan().fit(x, y, epochs=0)
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        ConditionalGan().fit(x, y, steps=0)
    with pytest.raises(RuntimeError, match="call fit first"):
        ConditionalGan().generate(0, 1)
    with pytest.raises(ValueError, match=r"label must be in \[0, 3\); got 3"):
        small(ConditionalGan).generate(3, 1)
    with pytest.raises(ValueError, match="balanced already"):
        Gamo().fit(x[:2], np.arange(2), steps=1)
    with pytest.raises(FloatingPointError, match="lower lr"):
        ConditionalGan(lr=float("inf"), latent=4, width=4).fit(x, y, steps=3)
