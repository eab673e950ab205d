"""Diversity of an image's captions, worked by hand, and its best caption by the scorer."""

import pytest

from imgcap.evaluation.diversity import describe_diversity
from imgcap.evaluation.scores import score_captions, score_each

REFERENCES = {
    "1.jpg": ["a brown dog runs on the beach", "a dog on a beach"],
    "2.jpg": ["two children play in a park", "kids on a swing"],
    "3.jpg": ["a man rides a bike down a hill", "a cyclist on a hill"],
}
GROUPS = {
    "1.jpg": ["a dog runs", "A dog runs .", "a dog on a beach"],
    "2.jpg": ["a man", "two children", "kids play"],
    "3.jpg": [""],
}


def test_worked_by_hand() -> None:
    """Image 1: 11 words, of which a, dog, runs, on, beach differ, and of the 8 pairs 'a dog',
    'dog runs', 'dog on', 'on a', 'a beach'. Image 2: 6 words, all different, and 3 pairs. Image 3
    has no word.
    """
    found = describe_diversity(GROUPS, REFERENCES)
    assert found["captions"] == 3
    assert found["distinct"] == pytest.approx((2 + 3 + 1) / 3)
    assert found["div_1"] == pytest.approx((5 / 11 + 6 / 6 + 0) / 3)
    assert found["div_2"] == pytest.approx((5 / 11 + 3 / 6 + 0) / 3)


def test_the_oracle_takes_the_best_of_each_image() -> None:
    ranks = [
        score_each({image: (group * 3)[rank] for image, group in GROUPS.items()}, REFERENCES)
        for rank in range(3)
    ]
    best = {image: max(scores[image] for scores in ranks) for image in GROUPS}
    found = describe_diversity(GROUPS, REFERENCES)["oracle_cider"]
    assert found == pytest.approx(sum(best.values()) / 3)
    first = {image: group[0] for image, group in GROUPS.items()}
    assert found > score_captions(first, REFERENCES, bootstrap_samples=0)["cider"]


def test_captions_that_are_all_the_same() -> None:
    groups = {image: ["a dog", "a dog"] for image in REFERENCES}
    found = describe_diversity(groups, REFERENCES)
    one = score_captions(dict.fromkeys(REFERENCES, "a dog"), REFERENCES, bootstrap_samples=0)
    assert (found["distinct"], found["div_1"], found["div_2"]) == (1.0, 0.5, 0.25)
    assert found["oracle_cider"] == pytest.approx(one["cider"])


def test_an_image_without_a_caption() -> None:
    found = describe_diversity({**GROUPS, "3.jpg": []}, REFERENCES)
    assert found == {**describe_diversity(GROUPS, REFERENCES), "distinct": pytest.approx(5 / 3)}
