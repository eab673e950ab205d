"""Tallies: parts add up to the whole, in any order and after a way through JSON."""

import json
from pathlib import Path

import pytest

from imgcap.data.prepare.tally import Tally
from imgcap.data.raw.example import Example


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    made = []
    for number, split in enumerate(("train", "train", "dev", "test", "train")):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(bytes(10 + number))
        made.append(
            Example(path.name, str(path), ("A dog.", f"{number} dogs run")[: number + 1], split)
        )
    return made


def count(examples: list[Example]) -> Tally:
    tally = Tally()
    for example in examples:
        tally.add(example, 0, "word")
    return tally


def test_counts(examples: list[Example]) -> None:
    tally = count(examples)
    assert (tally.images, tally.captions) == (5, 9)
    train = tally.splits["train"]
    assert train.images == train.bins.total() == 3
    assert train.words == {"a": 3, "dog": 3, "1": 1, "4": 1, "dogs": 2, "run": 2}
    assert train.lengths == {2: 3, 3: 2}


def test_parts_add_up_to_the_whole(examples: list[Example]) -> None:
    whole = count(examples)
    parts = count(examples[3:])
    for example in reversed(examples[:3]):
        parts.add_tally(count([example]))
    assert parts.to_tree() == whole.to_tree()
    again = Tally.from_tree(json.loads(json.dumps(whole.to_tree())))
    assert again.to_tree() == whole.to_tree()


def test_what_an_image_is_shows_in_the_identity(examples: list[Example]) -> None:
    first = examples[0]
    found = {count([first]).identity}
    for changed in (
        first._replace(image_id="b"),
        first._replace(split="dev"),
        first._replace(captions=("A cat.",)),
    ):
        found.add(count([changed]).identity)
    Path(first.location).write_bytes(b"another size")
    found.add(count([first]).identity)
    assert len(found) == 5
    assert Tally().identity == 0
