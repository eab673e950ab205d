"""The schema: what goes in comes out, and a shard that is there is whole."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from imgcap.data import records

RECORD = records.Record(
    image_id="été 1.jpg",
    image_bytes=bytes(range(256)),
    captions=("Un chien .", "A dog , running"),
    tokens=((1, 7, 2), (1, 8, 9, 3, 2)),
)


def test_parse_is_the_reverse_of_to_example() -> None:
    parsed = records.parse_example(tf.constant(records.to_example(RECORD)))
    assert parsed.image_id.numpy().decode() == RECORD.image_id
    assert parsed.image_bytes.numpy() == RECORD.image_bytes
    assert tuple(text.decode() for text in parsed.captions.numpy()) == RECORD.captions
    assert parsed.tokens.numpy().tolist() == [[1, 7, 2, 0, 0], [1, 8, 9, 3, 2]]
    assert parsed.features.numpy() == b""


def test_many_are_parsed_as_one_is() -> None:
    other = RECORD._replace(image_id="b.jpg", captions=("one",), tokens=((1, 9, 2),))
    serialized = [records.to_example(record) for record in (RECORD, other)]
    many = records.parse_examples(tf.constant(serialized), max_tokens=12)
    assert many.tokens.shape == (2, len(RECORD.captions), 12)
    for row, one in enumerate(map(records.parse_example, serialized)):
        captions, length = one.tokens.shape
        np.testing.assert_array_equal(many.tokens[row, :captions, :length], one.tokens)
        assert tf.math.count_nonzero(many.tokens[row]) == tf.math.count_nonzero(one.tokens)
        for name in ("image_id", "image_bytes", "features"):
            assert getattr(many, name)[row] == getattr(one, name)


def test_schema_by_the_official_message() -> None:
    fields = tf.train.Example.FromString(records.to_example(RECORD)).features.feature
    assert set(fields) == {"image_id", "image_bytes", "captions", "tokens", "token_counts"}
    assert fields["tokens"].int64_list.value == [1, 7, 2, 1, 8, 9, 3, 2]
    assert fields["token_counts"].int64_list.value == [3, 5]


def test_shards_with_fields_of_older_versions_are_read() -> None:
    older = tf.train.Example.FromString(records.to_example(RECORD))
    for name in ("height", "width"):
        older.features.feature[name].int64_list.value.append(3)
    read = records.parse_example(tf.constant(older.SerializeToString()))
    new = records.parse_example(tf.constant(records.to_example(RECORD)))
    for name, tensor in new._asdict().items():
        np.testing.assert_array_equal(getattr(read, name), tensor)


def test_features_take_the_place_of_the_image() -> None:
    features = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    parsed = records.parse_example(
        tf.constant(records.with_features(records.to_example(RECORD), features))
    )
    decoded = records.decode_features(parsed.features, (4, 6)).numpy()
    np.testing.assert_array_equal(decoded, features.astype(np.float16))
    assert parsed.image_bytes.numpy() == b""
    assert parsed.tokens.numpy().tolist() == [[1, 7, 2, 0, 0], [1, 8, 9, 3, 2]]


def test_a_shard_that_fails_is_not_there(tmp_path: Path) -> None:
    def examples():
        yield records.to_example(RECORD)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        records.write_shard(tmp_path / "shard", examples())
    assert not (tmp_path / "shard").exists()
    assert records.write_shard(tmp_path / "shard", [records.to_example(RECORD)] * 3) == 3
    assert sum(1 for _ in tf.data.TFRecordDataset(str(tmp_path / "shard"))) == 3
