"""The random stream against the published vectors of Random123 (kat_vectors, philox4x32 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cases import BACKENDS_UNDER_TEST, assert_same_bits
from expansive.backends import reference
from expansive.backends.registry import Partners, get_backend

KNOWN_ANSWERS = {
    "zeros": ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    "ones": (
        [0xFFFFFFFF] * 4,
        [0xFFFFFFFF] * 2,
        [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
    ),
    "pi": (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
}


@pytest.mark.parametrize("name", KNOWN_ANSWERS)
def test_published_vectors(name: str) -> None:
    counter, key, expected = KNOWN_ANSWERS[name]
    words = reference.philox_rounds([np.array([w], np.uint64) for w in counter], *key)
    assert [int(word[0]) for word in words] == expected


def philox_by_hand(row: int, seed: int) -> list[int]:
    """The generator once more, on Python integers, from the paper's definition."""
    counter = [row & 0xFFFFFFFF, row >> 32, 0, 0]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        high0, low0 = divmod(counter[0] * 0xD2511F53, 1 << 32)
        high1, low1 = divmod(counter[2] * 0xCD9E8D57, 1 << 32)
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0]
        key = [(key[0] + 0x9E3779B9) % (1 << 32), (key[1] + 0xBB67AE85) % (1 << 32)]
    return counter


ROWS = [0, 1, 2, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**40 + 12345, 2**44 - 1]
SEEDS = [0, 1, 2**32 - 1, 2**32, 0x299F31D0A4093822, 2**64 - 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_counter_is_the_row_and_key_the_seed(seed: int) -> None:
    words = reference.philox4x32(np.array(ROWS, np.uint64), seed)
    for i, row in enumerate(ROWS):
        assert [int(word[i]) for word in words] == philox_by_hand(row, seed)


def tables(seed: int, low: float = 0.0, high: float = 1.0) -> Partners:
    """Two classes, of 2**40 and 2**44 rows, with 3 and 70001 bases of one to three partners."""
    n_bases = 3 + 70001
    counts = 1 + np.arange(n_bases) % 3
    return Partners(
        sample_start=np.array([0, 2**40, 2**40 + 2**44]),
        base_start=np.array([0, 3, n_bases]),
        bases=np.arange(n_bases) * 10,
        partner_start=np.concatenate([[0], np.cumsum(counts)]),
        partners=np.arange(counts.sum()) + 7,
        seed=seed,
        low=low,
        high=high,
    )


def draw_by_hand(p: Partners, row: int) -> tuple[int, int, float]:
    """The contract of a draw, on Python integers."""
    r0, r1, r2, _ = philox_by_hand(row, p.seed)
    group = 0 if row < p.sample_start[1] else 1
    first, last = int(p.base_start[group]), int(p.base_start[group + 1])
    base = first + ((r0 * (last - first)) >> 32)
    first, last = int(p.partner_start[base]), int(p.partner_start[base + 1])
    partner = first + ((r1 * (last - first)) >> 32)
    return int(p.bases[base]), int(p.partners[partner]), (r2 >> 8) / 2**24


@pytest.mark.parametrize("backend", ["reference", *BACKENDS_UNDER_TEST])
@pytest.mark.parametrize("seed", SEEDS)
def test_draw_follows_the_contract(backend: str, seed: int) -> None:
    p = tables(seed)
    base, partner, weight = get_backend(backend).draw(p, np.array(ROWS), np.float32)
    drawn = list(zip(base.tolist(), partner.tolist(), weight.tolist(), strict=True))
    assert drawn == [draw_by_hand(p, row) for row in ROWS]


@pytest.mark.parametrize("backend", BACKENDS_UNDER_TEST)
@pytest.mark.parametrize("expansion", [(0.0, 1.0), (0.25, 0.75), (-0.5, 1.5), (0.1, 0.1), (1, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_have_the_bits_of_the_reference(
    backend: str, expansion: tuple[float, float], dtype: Any
) -> None:
    p = tables(42, *expansion)
    rows = np.random.default_rng(0).integers(0, 2**44, 3000)
    got = get_backend(backend).draw(p, rows, dtype)
    expected = reference.draw(p, rows, dtype)
    for name, a, b in zip(("base", "partner", "weight"), got, expected, strict=True):
        assert_same_bits(a, b, name)
