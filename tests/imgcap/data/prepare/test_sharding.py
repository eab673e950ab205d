"""Shards by positions: no image twice, no shard empty, and a drawn split by exact rank."""

import random
from collections import Counter

import numpy as np
import pytest

from imgcap.data.prepare.beam.drawing import find_borders, find_first_places, place_of, split_of
from imgcap.data.prepare.sharding import bin_of, count_shards, shard_name, shard_of
from imgcap.data.prepare.summary import find_percentile
from imgcap.data.raw.order import position
from imgcap.data.raw.splits import draw


def test_positions_are_spread_evenly() -> None:
    positions = np.array([position(0, f"{number}.jpg") for number in range(4000)], np.uint64)
    counts = np.bincount((positions >> np.uint64(60)).astype(int), minlength=16)
    # 250 on average; a standard deviation is 15.
    assert counts.min() > 180 and counts.max() < 320
    assert position(0, "a") != position(1, "a") != position(1, "a", "split")
    # By `printf '\\000%s\\000photo.jpg' 0 | b2sum -l 64`: the order must never change.
    assert position(0, "photo.jpg") == 0xF74F336B11DF546B


def test_shards_are_ranges_of_positions() -> None:
    assert [shard_of(place, 4) for place in (0, 2**62 - 1, 2**62, 2**64 - 1)] == [0, 0, 1, 3]
    assert shard_name("dev", 3, 16) == "dev-00003-of-00016.tfrecord"


@pytest.mark.parametrize("images", [0, 1, 2, 5, 16, 40, 300])
def test_no_shard_is_empty(images: int) -> None:
    for seed in range(20):
        positions = [position(seed, f"{number}.jpg") for number in range(images)]
        count = count_shards(Counter(map(bin_of, positions)), 16)
        assert {shard_of(place, count) for place in positions} == set(range(count if images else 0))
        assert count == 1 if images < 2 else count <= min(16, images)


def test_many_images_fill_all_the_shards_that_are_wanted() -> None:
    full = Counter({index: 3 for index in range(2**16)})
    assert count_shards(full, 20_000) == 20_000
    # Each needs a bin of its own.
    assert count_shards(full, 10**6) == 2**16
    del full[7]
    assert count_shards(full, 16) == 16


@pytest.mark.parametrize("images", [1, 2, 3, 7, 40, 2000])
def test_a_split_is_drawn_without_a_list_of_all_images(images: int) -> None:
    names = [f"{number}.jpg" for number in range(images)]
    places = [place_of(3, name) for name in names]
    borders = find_borders(Counter(bin_of(place[0]) for place in places))
    bins = {border.bin for border in borders}
    first = find_first_places(borders, [place for place in places if bin_of(place[0]) in bins])
    assert {name: split_of(place_of(3, name), first) for name in names} == draw(names, 3)


def test_percentiles_of_counted_numbers() -> None:
    rng = random.Random(0)
    for size in (1, 2, 3, 20, 999):
        numbers = [rng.randint(1, 40) for _ in range(size)]
        for share in (0.0, 0.5, 0.95, 1.0):
            found = find_percentile(Counter(numbers), share)
            assert found == pytest.approx(np.percentile(numbers, 100 * share), abs=1e-9)
