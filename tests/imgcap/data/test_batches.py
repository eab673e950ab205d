"""Each row once an epoch, in an order that the seed alone decides, whatever the number of
replicas.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from imgcap.data import batches, image, manifest, records, shards
from imgcap.data.batches import (
    DecodedImages,
    EncodedCaptions,
    EncodedImages,
    Position,
    Rows,
    training_batches,
)


@pytest.fixture(scope="module")
def paths(data_dir: Path) -> list[Path]:
    prepared = manifest.load_manifest(data_dir)
    return list(map(Path, manifest.shard_paths(data_dir, prepared, "train")))


def write_features(paths: list[Path], folder: Path, views: tuple[float, ...]) -> list[Path]:
    """Feature shards whose features tell which image they are of: float16 [views, 2, 1], its number
    plus the view's.
    """
    number, made = 0, []
    for path in paths:
        rows = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
        numbers = range(number, number + len(rows))
        number += len(rows)
        features = [
            np.stack([np.full([2, 1], value + view) for view in views]) for value in numbers
        ]
        records.write_shard(folder / path.name, map(records.with_features, rows, features))
        made.append(folder / path.name)
    return made


@pytest.fixture(scope="module")
def feature_paths(paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_features(paths, tmp_path_factory.mktemp("features"), (0.0,))


@pytest.fixture(scope="module")
def two_view_paths(paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_features(paths, tmp_path_factory.mktemp("two_views"), (0.0, 0.5))


def read(
    paths: list[Path],
    examples: DecodedImages | EncodedImages | EncodedCaptions,
    rows: Rows = batches.ONE_REPLICA,
    **position: int,
) -> list[batches.Batch]:
    dataset = training_batches(paths, examples, Position(**position), rows)
    return [batches.Batch(*(part.numpy() for part in batch)) for batch in dataset]


def features(
    paths: list[Path], captions: int = 16, views: int = 1, **values: Any
) -> list[batches.Batch]:
    return read(paths, EncodedCaptions(captions, (2, 1), max_length=20, views=views), **values)


def images(
    paths: list[Path],
    count: int = 6,
    augment: bool = False,
    random_crop: float = 1.0,
    **values: Any,
) -> list[batches.Batch]:
    return read(paths, DecodedImages(count, 32, augment, random_crop), **values)


def captions_in(batches: list[batches.Batch]) -> Counter:
    rows = (row for batch in batches for row in batch.tokens.reshape([-1, batch.tokens.shape[-1]]))
    return Counter(tuple(token for token in row.tolist() if token) for row in rows if row.any())


def captions_of(paths: list[Path]) -> Counter:
    parsed = map(records.parse_example, tf.data.TFRecordDataset([str(path) for path in paths]))
    rows = (row for record in parsed for row in record.tokens.numpy().tolist())
    return Counter(tuple(token for token in row if token) for row in rows)


def test_an_epoch_has_every_caption_once(paths: list[Path], feature_paths: list[Path]) -> None:
    assert captions_in(features(feature_paths)) == captions_of(paths)
    assert captions_in(images(paths)) == captions_of(paths)


def test_captions_of_a_batch_are_of_about_one_length(feature_paths: list[Path]) -> None:
    for batch in features(feature_paths):
        lengths = np.count_nonzero(batch.tokens[:, 0], axis=1)
        assert lengths.max() - lengths.min() < batches.LENGTH_STEP
        assert batch.tokens.shape[2] == lengths.max()


def test_predicted_steps(feature_paths: list[Path], data_dir: Path) -> None:
    counts = {
        int(length): count
        for length, count in manifest.load_manifest(data_dir).token_counts.items()
    }
    for captions in (7, 16, 1000):
        assert batches.feature_steps(counts, captions) == len(features(feature_paths, captions))


def test_order_hangs_on_seed_and_epoch(paths: list[Path], feature_paths: list[Path]) -> None:
    for make, source in ((features, feature_paths), (images, paths)):
        first = make(source)
        for again, same in (
            (make(source), True),
            (make(source, epoch=1), False),
            (make(source, seed=1), False),
        ):
            equal = all(
                np.array_equal(a.inputs, b.inputs) for a, b in zip(first, again, strict=False)
            )
            assert equal is same


def test_start_skips_what_was_trained(paths: list[Path], feature_paths: list[Path]) -> None:
    for make, source, augmented in (
        (features, feature_paths, {}),
        (images, paths, {"augment": True}),
    ):
        whole, rest = make(source, **augmented), make(source, start=2, **augmented)
        assert len(rest) == len(whole) - 2
        for a, b in zip(whole[2:], rest, strict=True):
            np.testing.assert_array_equal(a.inputs, b.inputs)
            np.testing.assert_array_equal(a.tokens, b.tokens)


@pytest.mark.parametrize("replicas", [2, 3])
def test_replicas_share_the_same_global_batches(
    paths: list[Path], feature_paths: list[Path], replicas: int
) -> None:
    for make, source in ((features, feature_paths), (images, paths)):
        whole = make(source, 18)
        # One pipeline that feeds all replicas in turn, and one pipeline a replica, deliver the same
        # rows.
        together = make(source, 18, rows=Rows(0, replicas, replicas))
        apart = [make(source, 18, rows=Rows(first, 1, replicas)) for first in range(replicas)]
        assert len(together) == replicas * len(whole)
        for step, batch in enumerate(whole):
            slices = together[step * replicas : (step + 1) * replicas]
            assert len({part.tokens.shape[0] for part in slices}) == 1
            assert captions_in(slices) == captions_in([batch])
            for replica, part in enumerate(slices):
                np.testing.assert_array_equal(part.inputs, apart[replica][step].inputs)


def test_images_are_decoded_as_serving_decodes_them(paths: list[Path]) -> None:
    parsed = list(
        map(records.parse_example, tf.data.TFRecordDataset([str(path) for path in paths]))
    )
    expected = {image.decode(row.image_bytes, 32).numpy().tobytes() for row in parsed}
    assert {row.tobytes() for batch in images(paths) for row in batch.inputs} == expected


def test_flip_is_half_of_the_time_and_new_each_epoch(paths: list[Path]) -> None:
    plain = {row.tobytes() for batch in images(paths) for row in batch.inputs}
    mirrored = []
    for epoch in range(4):
        rows = np.concatenate([batch.inputs for batch in images(paths, augment=True, epoch=epoch)])
        assert all(
            (row if row.tobytes() in plain else row[:, ::-1]).tobytes() in plain for row in rows
        )
        mirrored.append(frozenset(row.tobytes() for row in rows if row.tobytes() not in plain))
    assert len(set(mirrored)) == 4
    # 4 epochs of 32 images: 64 flips expected, 5.7 the standard deviation.
    assert 40 < sum(map(len, mirrored)) < 88


def test_crops_are_new_in_each_epoch_and_the_same_after_a_restart(paths: list[Path]) -> None:
    epochs = [images(paths, random_crop=0.5, epoch=epoch) for epoch in (0, 1)]
    rows = [
        {
            row.tobytes()
            for batch in epoch
            for row, tokens in zip(*batch, strict=True)
            if tokens.any()
        }
        for epoch in epochs
    ]
    assert [len(epoch) for epoch in rows] == [32, 32] and not rows[0] & rows[1]
    for whole, rest in zip(
        epochs[1][2:], images(paths, random_crop=0.5, epoch=1, start=2), strict=True
    ):
        np.testing.assert_array_equal(whole.inputs, rest.inputs)


def views_drawn(batches: list[batches.Batch]) -> dict[int, bool]:
    """Image number to whether its second view was drawn; all captions of an image must have drawn
    the same.
    """
    drawn = {
        float(row[0, 0])
        for batch in batches
        for row, tokens in zip(*batch, strict=True)
        if tokens.any()
    }
    assert len(drawn) == 32
    found = {int(value): value % 1 == 0.5 for value in drawn}
    assert len(found) == 32
    return found


def test_each_epoch_draws_one_view_of_each_image(two_view_paths: list[Path]) -> None:
    epochs = [features(two_view_paths, views=2, epoch=epoch) for epoch in range(4)]
    drawn = [views_drawn(batches) for batches in epochs]
    assert len({tuple(sorted(views.items())) for views in drawn}) == 4
    # 4 epochs of 32 images: 64 expected, 5.7 the standard deviation.
    assert 40 < sum(sum(views.values()) for views in drawn) < 88
    assert views_drawn(features(two_view_paths, 7, views=2, epoch=1)) == drawn[1]
    assert views_drawn(features(two_view_paths, views=2, epoch=1, seed=1)) != drawn[1]
    for whole, rest in zip(epochs[0][3:], features(two_view_paths, views=2, start=3), strict=True):
        np.testing.assert_array_equal(whole.inputs, rest.inputs)
    halves = [features(two_view_paths, 18, views=2, rows=Rows(first, 1, 2)) for first in range(2)]
    assert views_drawn([batch for half in halves for batch in half]) == drawn[0]


def test_encoded_images_come_with_all_their_captions(
    two_view_paths: list[Path], paths: list[Path]
) -> None:
    """As the images themselves do: the same order, the same captions, one of the stored views."""
    encoded = read(two_view_paths, EncodedImages(6, (2, 1), views=2), epoch=3)
    whole = images(paths, epoch=3)
    assert len(encoded) == len(whole)
    for batch, other in zip(encoded, whole, strict=True):
        np.testing.assert_array_equal(batch.tokens, other.tokens)
        assert batch.inputs.shape[1:] == (2, 1) and (batch.inputs[:, 0] == batch.inputs[:, 1]).all()
    drawn = np.concatenate([batch.inputs[batch.tokens.any(axis=(1, 2)), 0, 0] for batch in encoded])
    assert len(set(np.floor(drawn).tolist())) == len(drawn)
    assert set((drawn % 1).tolist()) == {0.0, 0.5}


@pytest.mark.parametrize("replicas", [1, 2])
def test_evaluation_has_every_image_once(
    paths: list[Path], feature_paths: list[Path], replicas: int
) -> None:
    rows = Rows(0, replicas, replicas)
    decoded = batches.evaluation_images(paths, images=10, image_size=32, rows=rows)
    stored = batches.evaluation_features(feature_paths, images=10, features_shape=(2, 1), rows=rows)
    for dataset in (decoded, stored):
        numbers = [number for batch in dataset for number in batch.number.numpy()]
        assert sorted(number for number in numbers if number >= 0) == list(range(32))
        assert len(numbers) == 40
    for batch in stored:
        real = batch.number >= 0
        np.testing.assert_array_equal(batch.inputs[:, 0, 0][real], batch.number[real].numpy())


def test_references_are_in_the_order_of_the_numbers(paths: list[Path]) -> None:
    parsed = list(
        map(records.parse_example, tf.data.TFRecordDataset([str(path) for path in paths]))
    )
    found = shards.references(paths)
    assert [entry.image_id for entry in found] == [row.image_id.numpy().decode() for row in parsed]
    assert found[0].captions == tuple(text.decode() for text in parsed[0].captions.numpy())
