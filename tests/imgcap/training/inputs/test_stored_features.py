"""Stored features are the encoder's own, of the image and of its mirror image, in a folder of their
own.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import ModelConfig
from imgcap.data import image, manifest, records
from imgcap.data.manifest import Manifest
from imgcap.errors import DataError
from imgcap.model.encoder import Encoder, make_encoder
from imgcap.training.inputs import stored_features

SIZE = 32


@pytest.fixture(scope="module")
def prepared(data_dir: Path) -> Manifest:
    return manifest.load_manifest(data_dir)


@pytest.fixture(scope="module")
def encoder(encoder_file: Path) -> Encoder:
    # The grid, since the mean over it is the same for an image and its mirror image.
    return make_encoder(ModelConfig(encoder=str(encoder_file), image_size=SIZE), pooled=False)


def store(
    encoder: Encoder,
    data_dir: Path,
    prepared: Manifest,
    folder: Path,
    views: int,
    crop: float = 1.0,
) -> stored_features.StoredFeatures:
    return stored_features.store_features(
        encoder,
        data_dir,
        prepared,
        folder,
        image_size=SIZE,
        splits=("train", "dev"),
        views=stored_features.Views(views, crop),
    )


def rows(paths: list[str]) -> list[records.ParsedRecord]:
    return list(map(records.parse_example, tf.data.TFRecordDataset(paths)))


def test_views_are_the_image_and_its_mirror_image(
    encoder: Encoder, data_dir: Path, prepared: Manifest, tmp_path: Path
) -> None:
    stored, encode = (
        store(encoder, data_dir, prepared, tmp_path, views=2),
        tf.function(encoder.__call__),
    )
    for split, views in (("train", 2), ("dev", 1)):
        originals = rows(manifest.shard_paths(data_dir, prepared, split))
        found = rows(stored.paths(prepared, split))
        assert len(originals) == len(found)
        for original, row in zip(originals, found, strict=True):
            pixels = image.decode(original.image_bytes, SIZE).numpy()
            expected = encode(tf.stack([pixels, pixels[:, ::-1]][:views])).numpy()
            decoded = records.decode_features(row.features, [views, *stored.shape]).numpy()
            np.testing.assert_allclose(decoded, expected, rtol=2e-3, atol=1e-3)
            assert views == 1 or np.abs(decoded[0] - decoded[1]).max() > 1e-2


def test_further_views_are_crops(
    encoder: Encoder, data_dir: Path, prepared: Manifest, tmp_path: Path
) -> None:
    stored = store(encoder, data_dir, prepared, tmp_path, views=4, crop=0.3)
    plain = store(encoder, data_dir, prepared, tmp_path, views=2)
    milder = store(encoder, data_dir, prepared, tmp_path, views=4, crop=0.9)
    assert len({stored.folder, plain.folder, milder.folder}) == 3
    different, pairs = (
        0,
        zip(
            rows(stored.paths(prepared, "train")), rows(plain.paths(prepared, "train")), strict=True
        ),
    )
    for row, two in pairs:
        views = records.decode_features(row.features, [4, *stored.shape]).numpy()
        np.testing.assert_array_equal(
            views[:2], records.decode_features(two.features, [2, *stored.shape])
        )
        different += len(np.unique(views, axis=0)) == 4
    assert different == prepared.images["train"]


def test_one_and_two_views_have_folders_of_their_own(
    encoder: Encoder, data_dir: Path, prepared: Manifest, tmp_path: Path
) -> None:
    one, two = (store(encoder, data_dir, prepared, tmp_path, views) for views in (1, 2))
    assert one.folder != two.folder
    for first, second in zip(
        one.paths(prepared, "train"), two.paths(prepared, "train"), strict=True
    ):
        for a, b in zip(rows([first]), rows([second]), strict=True):
            single = records.decode_features(a.features, one.shape)
            pair = records.decode_features(b.features, [2, *two.shape])
            np.testing.assert_array_equal(single, pair[0])


def test_what_is_stored_is_not_made_again(
    encoder: Encoder, data_dir: Path, prepared: Manifest, tmp_path: Path
) -> None:
    stored = store(encoder, data_dir, prepared, tmp_path, views=2)
    paths = list(map(Path, stored.paths(prepared, "train")))
    paths[0].unlink()
    before = [path.stat().st_mtime_ns for path in paths[1:]]
    again = store(encoder, data_dir, prepared, tmp_path, views=2)
    assert list(map(Path, again.paths(prepared, "train"))) == paths and paths[0].exists()
    assert [path.stat().st_mtime_ns for path in paths[1:]] == before


def test_a_damaged_shard_is_named_and_those_before_it_are_stored(
    encoder: Encoder, data_dir: Path, prepared: Manifest, tmp_path: Path
) -> None:
    damaged = tmp_path / "data"
    shutil.copytree(data_dir, damaged)
    first, second, *_ = map(Path, manifest.shard_paths(damaged, prepared, "train"))
    content = bytearray(second.read_bytes())
    content[20] ^= 1  # of its very first record
    second.write_bytes(content)
    with pytest.raises(DataError, match=f"{second.name} after record 0 .*: a shard is damaged"):
        store(encoder, damaged, prepared, tmp_path / "features", views=1)
    (stored,) = (tmp_path / "features").glob("*/*.tfrecord")
    assert stored.name == first.name
    assert len(rows([str(stored)])) == len(rows([str(first)]))
