"""Texts of captions in scripts with spaces and without: words with their numbers, alt texts."""

import pytest

from serving.client import Caption
from serving.client.texts import make_alt_text
from serving.page.answers.markup import card_html


@pytest.mark.parametrize(
    ("text", "tokens", "words"),
    [
        ("一只狗 3", 4, "一 只 狗 3"),  # by characters
        ("一只狗 3", 2, "一只狗 3"),  # words that were split beforehand
        ("l'homme d'un dog's", 6, "l'homme d'un dog's"),
        ("п'ять псів", 2, "п'ять псів"),
    ],
)
def test_words_have_their_tokens_probabilities(text: str, tokens: int, words: str) -> None:
    caption = Caption(text, -1.0, (*range(4, 4 + tokens), 2, 0), (-1.0,) * tokens)
    assert [word for word, _ in caption.words] == words.split(" ")
    assert sum(log_prob for _, log_prob in caption.words) == -tokens


def test_page_has_spaces_where_the_caption_has_them() -> None:
    paragraph = '<p class="imgcap-caption" dir="auto">{}</p>'
    card = card_html("key", "name", b"", Caption("一只 3", -1.0, (4, 5, 6, 2)))
    assert paragraph.format("一只 3") in card
    card = card_html("key", "name", b"", Caption("a dog's ball", -1.0))
    assert paragraph.format("a dog&#x27;s ball") in card


@pytest.mark.parametrize(
    ("caption", "sentence"),
    [
        ("a dog's ball", "A dog's ball."),
        ("一只狗", "一只狗。"),
        ("犬が走る", "犬が走る。"),
        ("สุนัขวิ่ง", "สุนัขวิ่ง"),
        ("एक कुत्ता", "एक कुत्ता।"),
        ("ძაღლი", "ძაღლი."),
        ("un chien\u0301 50 %", "Un chien\u0301 50 %."),
        ("a dog.", "A dog."),
        ("", ""),
    ],
)
def test_sentence_for_an_alternative_text(caption: str, sentence: str) -> None:
    assert make_alt_text(caption) == sentence
