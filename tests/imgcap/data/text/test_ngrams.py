"""N-grams by number: which images they stand in, counted in Python, and the file that keeps it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from imgcap.data.text.ngrams import MAX_VOCABULARY, DocumentFrequencies, ngram_keys
from imgcap.data.text.vocabulary import END, PAD, SPECIALS, Vocabulary
from imgcap.errors import DataError

VOCABULARY = 12
WORDS = Vocabulary((*SPECIALS, *"abcdefgh"))


def draw_images(images: int) -> list[np.ndarray]:
    """Captions of few words, so that n-grams are met again."""
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(images):
        lengths = rng.integers(0, 7, size=rng.integers(1, 4))
        captions = [[*rng.integers(4, VOCABULARY, size=length), END] for length in lengths]
        drawn.append(np.array([one + [PAD] * (8 - len(one)) for one in captions], np.int32))
    return drawn


def test_frequencies_are_those_of_a_plain_count() -> None:
    images, seen = draw_images(60), Counter[int]()
    for captions in images:
        inside = set()
        for row in captions.tolist():
            words = row[: row.index(END) + 1]
            for order in range(1, 5):
                for start in range(len(words) - order + 1):
                    key = 0
                    for word in words[start : start + order]:
                        key = key * VOCABULARY + word
                    inside.add(key)
        seen.update(inside)
    found = DocumentFrequencies.count(images, VOCABULARY)
    assert dict(zip(found.keys.tolist(), found.counts.tolist(), strict=True)) == {
        key: count for key, count in seen.items() if count > 1
    }
    assert found.images == 60 and (np.diff(found.keys) > 0).all()
    assert 1 in seen.values() and len(found.keys) > 50


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "document_frequencies.npz"
    written = DocumentFrequencies.count(draw_images(60), VOCABULARY)
    written.save(path, WORDS)
    read = DocumentFrequencies.load(path, WORDS)
    np.testing.assert_array_equal(read.keys, written.keys)
    np.testing.assert_array_equal(read.counts, written.counts)
    assert (read.images, read.vocabulary_size) == (60, VOCABULARY)
    content = path.read_bytes()
    written.save(path, WORDS)
    assert path.read_bytes() == content


def test_a_file_without_ngrams(tmp_path: Path) -> None:
    """Of one image every n-gram is left out."""
    path = tmp_path / "document_frequencies.npz"
    DocumentFrequencies.count(draw_images(1), VOCABULARY).save(path, WORDS)
    assert DocumentFrequencies.load(path, WORDS).keys.shape == (0,)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "document_frequencies.npz"
    DocumentFrequencies.count(draw_images(60), VOCABULARY).save(path, WORDS)
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    remedy = "remove it and run imgcap-evaluate --search=mbr with the --data_dir of the run"
    with pytest.raises(DataError, match=f"{path} can't be read .*: {remedy}"):
        DocumentFrequencies.load(path, WORDS)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"{path} can't be read"):
        DocumentFrequencies.load(path, WORDS)
    path.write_bytes(content)
    other = Vocabulary((*SPECIALS, *"abcdefgi"))
    with pytest.raises(DataError) as caught:
        DocumentFrequencies.load(path, other)
    assert str(caught.value).startswith(
        f"{path} is of the vocabulary {WORDS.fingerprint}, the run's is {other.fingerprint}: "
    )


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(DataError, match="55,109 words has too many n-grams .*--min_count"):
        DocumentFrequencies.count(draw_images(1), MAX_VOCABULARY + 1)
    assert MAX_VOCABULARY**4 < 2**63 <= (MAX_VOCABULARY + 1) ** 4
    with pytest.raises(DataError, match="there are no training images"):
        DocumentFrequencies.count([], VOCABULARY)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_keys_tell_ngrams_apart(order: int) -> None:
    caption = np.array([4, 5, 4, 5, END, PAD])
    keys = ngram_keys(caption, order, VOCABULARY)
    ngrams = [tuple(caption[place : place + order]) for place in range(len(caption) - order + 1)]
    real = [PAD not in ngram for ngram in ngrams]
    assert [key > 0 for key in keys] == real
    pairs = {
        (ngram, int(key)) for ngram, key, is_real in zip(ngrams, keys, real, strict=True) if is_real
    }
    assert len(pairs) == len({ngram for ngram, _ in pairs}) == len({key for _, key in pairs})


def test_keys_of_two_orders_never_meet() -> None:
    everything = np.array(np.meshgrid(*[range(1, 5)] * 3)).reshape(3, -1).T
    keys = [set(ngram_keys(everything, order, 5).ravel().tolist()) for order in (1, 2, 3)]
    assert not keys[0] & keys[1] and not keys[1] & keys[2] and not keys[0] & keys[2]
