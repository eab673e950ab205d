"""What captions are like, on a case worked out by hand."""

import pytest

from imgcap.evaluation.insight import describe

REFERENCES = {
    "1": ["A dog runs .", "The dog is running fast .", "A brown dog ."],
    "2": [
        "A dog sleeps on the red sofa in the old living room today .",
        "A dog lies there .",
        "A cat .",
    ],
    "3": [
        "Two men ride bikes down the long and very steep hill behind their house .",
        "Men on bikes ride through the wide green forest near the big blue lake .",
    ],
}
CAPTIONS = {"1": "a dog runs", "2": "a man runs", "3": "a man and a man and a man"}
CIDERS = {"1": 200.0, "2": 50.0, "3": 10.0}


def test_variety_and_repetition() -> None:
    found = describe(CAPTIONS, REFERENCES, CIDERS)
    assert found["distinct_captions"] == 3
    assert found["vocabulary_used"] == len({"a", "dog", "runs", "man", "and"})
    assert found["repetitive"] == pytest.approx(1 / 3)
    assert describe({**CAPTIONS, "2": "A dog runs ."}, REFERENCES, CIDERS)["distinct_captions"] == 2


def test_by_length() -> None:
    # The references have 3.67, 6.33 and 14 words on average.
    assert describe(CAPTIONS, REFERENCES, CIDERS)["by_length"] == [
        {"words": "below 8", "images": 2, "cider": 125.0, "mean_length": 3.0},
        {"words": "14 and more", "images": 1, "cider": 10.0, "mean_length": 8.0},
    ]


def test_by_object() -> None:
    rows = {row["word"]: row for row in describe(CAPTIONS, REFERENCES, CIDERS)["by_object"]}
    # Two of three references agree on the dog in image 2, all in image 1; one caption of the two
    # names it.
    assert rows["dog"] == {"word": "dog", "images": 2, "cider": 125.0, "named": 0.5}
    assert rows["bikes"]["images"] == 1 and rows["bikes"]["named"] == 0.0
    assert "cat" not in rows and "the" not in rows and "a" not in rows
    assert next(iter(rows)) == "dog"
