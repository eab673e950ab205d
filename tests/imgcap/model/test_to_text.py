"""Words to text in the graph: the same as in Python, by hand and at random."""

import random

import pytest
import tensorflow as tf

from imgcap.config.prepare import TOKENIZERS
from imgcap.data.text.vocabulary import END, PAD, SPECIALS, UNK, Vocabulary
from imgcap.model.captioner import Captioner

WORDS = [
    "a",
    "dog",
    "'s",
    "n't",
    "is",
    "l'",
    "homme",
    "一",
    "只",
    "狗",
    "ง",
    "า",
    "กำ",
    "ำ",
    "ខ្",
    "ម",
    "abc",
    "3",
    "𠮷",
    "ｶﾞ",
    "п'ять",
    "d.c.",
    "café",
]
LENGTH = 9


def in_graph(vocabulary: Vocabulary, rows: list[list[int]]) -> list[str]:
    to_text = tf.function(Captioner(None, None, vocabulary).to_text)
    padded = [row + [END] + [PAD] * (LENGTH - len(row)) for row in rows]
    return [text.decode() for text in to_text(tf.constant(padded, tf.int32)).numpy()]


@pytest.mark.parametrize(
    ("tokenizer", "words", "text"),
    [
        ("word", "a dog 's 狗 只", "a dog's 狗 只"),
        ("word", "l' homme is n't 3", "l'homme isn't 3"),
        ("character", "一 只 狗 's 3 狗 abc dog", "一只狗's 3 狗 abc dog"),
        ("character", "กำ ง า l' 狗", "กำงา l'狗"),
    ],
)
def test_text_by_hand(tokenizer: str, words: str, text: str) -> None:
    vocabulary = Vocabulary((*SPECIALS, *WORDS), tokenizer)
    numbers = [vocabulary.words.index(word) for word in words.split(" ")]
    assert vocabulary.decode(numbers) == text
    assert in_graph(vocabulary, [numbers]) == [text]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_text_at_random_is_that_of_python(tokenizer: str) -> None:
    vocabulary, drawn = Vocabulary((*SPECIALS, *WORDS), tokenizer), random.Random(0)
    rows = [
        [drawn.randrange(UNK, len(vocabulary)) for _ in range(drawn.randint(0, LENGTH))]
        for _ in range(300)
    ]
    assert in_graph(vocabulary, rows) == list(map(vocabulary.decode, rows))
