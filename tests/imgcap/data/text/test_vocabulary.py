"""Words and their numbers: hand-worked splits, the round trip, the file and its error lines."""

import copy
import dataclasses
import hashlib
import os
from collections import Counter

import pytest

from imgcap.data.text.tokenisation import normalise
from imgcap.data.text.vocabulary import END, PAD, SPECIALS, START, UNK, Vocabulary
from imgcap.errors import DataError
from tests.support.paths import SHARED


# The splits are those of the Penn Treebank tokenizer of the COCO caption evaluation, punctuation
# removed.
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog runs .", "a dog runs"),
        (
            "The Dog's ball ISN'T here; they're \"good\"!",
            "the dog 's ball is n't here they 're good",
        ),
        ("The dog 's ball", "the dog 's ball"),
        ("we'll, I'm, he'd, we've", "we 'll i 'm he 'd we 've"),
        ("It\u2019s a \u201cbig\u201d dog", "it 's a big dog"),
        ("the boys' toys", "the boys toys"),
        ("a t-shirt and a merry-go-round", "a t-shirt and a merry-go-round"),
        ("snow--covered well- known -lit", "snow covered well known lit"),
        ("in Washington D.C.", "in washington d.c."),
        ("A S.C.U.B.A. diver .", "a s.c.u.b.a. diver"),
        ("player #5 & 50% of RIF=ding", "player # 5 & 50 % of rif = ding"),
        ("3.5 kg, 1,000 lbs at 5:30.", "3.5 kg 1,000 lbs at 5:30"),
        ("caf\u00e9 na\u00efve", "caf\u00e9 na\u00efve"),
        ("cafe\u0301", "caf\u00e9"),
        ("end.Start of\tnext\nline", "end start of next line"),
        ("<s> <pad> <unk>", "s pad unk"),
        (" ... !", ""),
        ("", ""),
    ],
)
def test_normalise_splits_as_the_treebank_tokenizer(text, words):
    assert normalise(text) == words.split()
    assert normalise(" ".join(normalise(text))) == words.split()


def make_vocabulary():
    return Vocabulary((*SPECIALS, "a", "dog", "'s", "ball", "is", "n't"))


def test_special_tokens_have_fixed_numbers():
    assert (PAD, START, END, UNK) == (0, 1, 2, 3)
    assert SPECIALS == ("<pad>", "<s>", "</s>", "<unk>")


def test_build_orders_by_count_then_alphabet_and_drops_rare_words():
    captions = [["b", "b", "c", "a", "a"], ["b", "d", "d", "rare", "<unk>", "<unk>"], ["c"]]
    # b 3; a, c, d 2 each; rare 1; a special token in the text is no word of its own.
    assert Vocabulary.build(captions, min_count=2).words == (*SPECIALS, "b", "a", "c", "d")
    assert Vocabulary.build(iter(captions), min_count=3).words == (*SPECIALS, "b")
    assert Vocabulary.build([], min_count=1).words == SPECIALS


def test_encode_frames_the_caption_and_maps_unknown_words():
    assert make_vocabulary().encode(["a", "cat", "'s", "ball"], max_length=4) == [
        START,
        4,
        UNK,
        6,
        7,
        END,
    ]
    assert make_vocabulary().encode([], max_length=4) == [START, END]


def test_a_cut_caption_has_no_end():
    assert make_vocabulary().encode(["a", "dog", "is", "a"], max_length=3) == [START, 4, 5, 8]


def test_decode_stops_at_the_end_and_joins_clitics():
    vocabulary = make_vocabulary()
    assert vocabulary.decode([START, 4, 5, 6, 7, 8, 9, END, 4, 4]) == "a dog's ball isn't"
    assert vocabulary.decode([4, 5, PAD, PAD]) == "a dog"
    assert vocabulary.decode([6, UNK]) == "'s <unk>"
    assert vocabulary.decode([END]) == vocabulary.decode([]) == ""


def test_splitting_a_decoded_caption_gives_its_words():
    words = normalise("A dog's ball isn't a ball's dog")
    vocabulary = make_vocabulary()
    assert normalise(vocabulary.decode(vocabulary.encode(words, max_length=20))) == words


@pytest.mark.parametrize("number", [10, -1])
def test_decode_refuses_numbers_of_another_vocabulary(number):
    with pytest.raises(
        DataError, match=rf"token {number} is outside the vocabulary of 10 words: use the vocab.txt"
    ):
        make_vocabulary().decode([4, number])


def test_save_and_load_keep_words_and_fingerprint(tmp_path):
    vocabulary = Vocabulary((*SPECIALS, "caf\u00e9", "dog"))
    path = tmp_path / "vocab.txt"
    vocabulary.save(path)
    assert path.read_bytes() == "<pad>\n<s>\n</s>\n<unk>\ncaf\u00e9\ndog\n".encode()
    assert Vocabulary.load(path) == vocabulary
    assert vocabulary.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert os.listdir(tmp_path) == ["vocab.txt"]


def test_fingerprint_tells_vocabularies_apart():
    prints = {
        Vocabulary((*SPECIALS, *words)).fingerprint
        for words in (["a", "b"], ["b", "a"], ["ab"], [])
    }
    assert len(prints) == 4


def test_length_counts_the_special_tokens():
    assert len(make_vocabulary()) == 10


def test_vocabulary_is_immutable_and_can_be_copied():
    vocabulary = make_vocabulary()
    with pytest.raises(dataclasses.FrozenInstanceError):
        vocabulary.words = ()
    vocabulary.encode(["a"], max_length=1)
    twin = copy.deepcopy(vocabulary)
    assert twin == vocabulary
    assert twin.encode(["dog"], max_length=1) == [START, 5, END]


GOOD = "<pad>\n<s>\n</s>\n<unk>\na\ndog\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + "a\n", "line 7 has 'a' for the second time (first in line 5)"),
        (GOOD + "\ncat\n", "line 7 is empty"),
        (GOOD + "two words\n", "line 7 has white space in 'two words'"),
        (GOOD + "cat", "line 7 is cut off: 'cat'"),
        (
            GOOD.replace("<s>", "<start>"),
            "line 2 has '<start>' in place of the special token '<s>'",
        ),
        (GOOD.replace("\n", "\r\n"), "line 1 has '<pad>\\r' in place of the special token '<pad>'"),
        ("<pad>\n<s>\n", "line 3 has nothing in place of the special token '</s>'"),
        ("", "line 1 has nothing in place of the special token '<pad>'"),
    ],
)
def test_load_names_the_broken_line(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content.encode())
    with pytest.raises(DataError) as error:
        Vocabulary.load(path)
    assert str(error.value).startswith(
        f"{path}, {message}: take it from the folder that imgcap-prepare wrote"
    )
    assert "\n" not in str(error.value)


def test_load_names_a_missing_or_undecodable_file(tmp_path):
    path = tmp_path / "vocab.txt"
    with pytest.raises(DataError, match=r"vocab\.txt is missing: take it from"):
        Vocabulary.load(path)
    path.write_bytes(GOOD.encode() + b"caf\xe9\n")
    with pytest.raises(DataError, match=r"vocab\.txt can't be read \(.*utf-8.*: take it from"):
        Vocabulary.load(path)


def test_a_vocabulary_without_special_tokens_is_refused():
    with pytest.raises(DataError, match="line 1 has 'a' in place of the special token '<pad>'"):
        Vocabulary(("a", "dog"))


@pytest.mark.skipif(not (SHARED / "flickr8k").is_dir(), reason=f"no Flickr8k captions in {SHARED}")
def test_flickr8k_gives_the_published_size():
    folder = SHARED / "flickr8k"
    train = set((folder / "Flickr_8k.trainImages.txt").read_text().split())
    lines = (folder / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t", 1) for line in lines]
    captions = [normalise(text) for name, text in rows if name.split("#")[0] in train]
    counts = Counter(word for caption in captions for word in caption)
    vocabulary = Vocabulary.build(captions, min_count=5)
    assert len(captions) == 30_000
    # 2,535 to 2,539 words are reported, by the way hyphens and signs are taken.
    assert abs(len(vocabulary) - len(SPECIALS) - 2535) <= 5
    assert counts[vocabulary.words[-1]] == 5
    assert vocabulary.words[len(SPECIALS) :][:4] == ("a", "in", "the", "on")
