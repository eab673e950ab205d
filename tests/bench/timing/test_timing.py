"""Turns by hand, and calls timed in another process."""

from functools import partial
from pathlib import Path

import pytest
import tensorflow as tf

from imgcap.errors import RunError
from tests.bench.timing import Subject, clocked, take_turns, timing_process, turns


def test_turns_alternate_and_the_first_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, called = [0.0], list[str]()
    seconds = {"one": iter([100, 1, 2, 9]), "other": iter([50, 4, 4, 5])}
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock[0])

    def subject(name: str) -> None:
        called.append(name)
        clock[0] += next(seconds[name])

    medians = take_turns({name: clocked(partial(subject, name)) for name in seconds}, 3)
    assert medians == {"one": 2, "other": 4}
    assert called == ["one", "other"] * 4


def test_all_calls_of_a_turn_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    seconds = iter([9, 9, 9, 1, 2, 6])
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock[0])

    def call() -> None:
        clock[0] += next(seconds)

    assert take_turns({"only": clocked(call, 3)}, 1) == {"only": 2}


def test_a_timer_answers_call_by_call(tmp_path: Path) -> None:
    module = tf.Module()
    images = tf.TensorSpec([None, 4, 4, 3], tf.float32, name="images")
    module.encode = tf.function(lambda images: {"features": images + 1.0}, input_signature=[images])
    files = tf.TensorSpec([None], tf.string, name="image_bytes")
    module.decode = tf.function(
        lambda image_bytes: {
            "pixels": tf.map_fn(tf.io.decode_jpeg, image_bytes, fn_output_signature=tf.uint8)
        },
        input_signature=[files],
    )
    signatures = {"encode": module.encode, "decode": module.decode}
    tf.saved_model.save(module, str(tmp_path), signatures=signatures)
    (tmp_path / "file").write_bytes(tf.io.encode_jpeg(tf.zeros([8, 8, 3], tf.uint8)).numpy())
    encode, decode = (Subject(str(tmp_path), name, 4) for name in signatures)
    of_a_file = Subject(str(tmp_path), "decode", image_file=str(tmp_path / "file"))
    absent = Subject(str(tmp_path / "absent"), "encode", 4)
    with timing_process([encode, decode, of_a_file, absent], 1, 2) as timer:
        for subject, batch_size in ((encode, 1), (encode, 16), (decode, 2), (of_a_file, 2)):
            seconds = timer(subject, batch_size, 3)
            assert len(seconds) == 3 and all(0 < call < 60 for call in seconds)
        with pytest.raises(RunError, match="timed_calls.py .* ended before its answer"):
            timer(absent, 1, 3)
