"""Scores against pycocoevalcap, against hand-worked cases, and against slow, plain code.

`golden_scores.json` holds small cases and their scores by pycocoevalcap 1.2. Its recipe, in an
environment of its own with `pip install pycocoevalcap` (no Java: the texts are words joined by
spaces, no tokenizer runs); `candidates` maps images to captions, `references` to lists of them, and
every score is multiplied by 100:

    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    results = {image: [caption] for image, caption in candidates.items()}
    bleus, _ = Bleu().compute_score(references, results, verbose=0)
    rouge_l, _ = Rouge().compute_score(references, results)
    cider, cider_each = Cider().compute_score(references, results)
"""

import json
import math
import random
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from imgcap.errors import DataError
from imgcap.evaluation.scores import NAMES, score_captions, score_each
from imgcap.evaluation.scores.bootstrap import percentile_interval, resample
from imgcap.evaluation.scores.cider import Cider, DocumentFrequencies
from imgcap.evaluation.scores.constant import best_constant
from imgcap.evaluation.scores.rouge import longest_common_subsequence, rouge_l
from tests.support.paths import SHARED

GOLDEN = json.loads((Path(__file__).parent / "golden_scores.json").read_text(encoding="utf-8"))[
    "cases"
]
WORDS = ["a", "the", "dog", "cat", "man", "runs", "sits", "in", "on", "grass", "street", "red"]


def draw_caption(generator, shortest=0, longest=9):
    return " ".join(generator.choices(WORDS, k=generator.randint(shortest, longest)))


def draw_set(seed, images=12):
    """Captions and one to five references an image, of few words, so that n-grams are shared."""
    generator = random.Random(seed)
    references = {
        f"{image}.jpg": [draw_caption(generator, 1) for _ in range(generator.randint(1, 5))]
        for image in range(images)
    }
    return {image: draw_caption(generator) for image in references}, references


# --- pycocoevalcap
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"].replace(" ", "_"))
def test_scores_equal_pycocoevalcap(case):
    scores = score_captions(case["candidates"], case["references"], bootstrap_samples=0)
    assert {name: scores[name] for name in NAMES} == pytest.approx(case["scores"], abs=1e-8)
    assert score_each(case["candidates"], case["references"]) == pytest.approx(
        case["cider_each"], abs=1e-8
    )


@pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason=f"no golden scores in {SHARED}")
def test_scores_equal_the_golden_ones_of_flickr8k():
    golden = json.loads((SHARED / "golden" / "scores_dev.json").read_text())
    candidates = json.loads((SHARED / "golden" / "predictions_dev.json").read_text())
    references = defaultdict(list)
    for line in (
        (SHARED / "flickr8k" / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    ):
        name, text = line.split("\t", 1)
        references[name.split("#")[0]].append(text)
    scores = score_captions(candidates, {image: references[image] for image in candidates})
    for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l"):
        assert scores[name] == pytest.approx(golden[name], abs=0.001)
    assert scores["cider"] == pytest.approx(golden["cider"], abs=0.01)
    # On 1,000 images a score is known to carry about 1.2 BLEU-4 and 3.2 CIDEr at 95 %.
    for name, half_width in {"bleu_4": 1.2, "cider": 3.2}.items():
        low, high = scores["intervals"][name]
        assert (high - low) / 2 == pytest.approx(half_width, abs=0.3)
    assert 5 < scores["constant_caption"]["cider"] < scores["cider"] / 2
    assert scores["mean_length"] == pytest.approx(8.83)


# --- hand-worked
# --------------------------------------------------------------------------------------------


def test_bleu_of_the_clipped_example():
    # "the" x 7 against a reference with two: precision 2 / 7; 7 words, nearest reference 7: no
    # penalty.
    scores = score_captions(
        {"x": "the " * 7}, {"x": ["the cat is on the mat here", "a cat"]}, bootstrap_samples=0
    )
    assert scores["bleu_1"] == pytest.approx(100 * 2 / 7)


@pytest.mark.parametrize(
    ("lengths", "factor"), [((2, 6), 1.0), ((6, 2), 1.0), ((5, 9), math.exp(1 - 5 / 4))]
)
def test_bleu_takes_the_nearest_reference_and_the_shorter_of_equally_near(lengths, factor):
    # A caption of 4 words that the references contain: precision 1, so BLEU-1 is the brevity
    # penalty.
    references = [" ".join("abcdefghi"[:length]) for length in lengths]
    scores = score_captions(
        {"x": "a b a b"}, {"x": [*references, "a b a b c d e f g h i j k"]}, bootstrap_samples=0
    )
    # "a b" stands once in the short references, but the longest has it twice: all 4 words match.
    assert scores["bleu_1"] == pytest.approx(100 * factor)


def test_rouge_takes_precision_and_recall_from_different_references():
    # Against "dog runs fast in grass": 2 common, precision 2/3, recall 2/5; against "runs": 1/3 and
    # 1. F = (1 + 1.44) * 2/3 * 1 / (1 + 1.44 * 2/3) = 0.8299.
    value = rouge_l(["the", "dog", "runs"], [["dog", "runs", "fast", "in", "grass"], ["runs"]])
    assert value == pytest.approx(2.44 * (2 / 3) / (1 + 1.44 * (2 / 3)))


def test_cider_of_two_images_with_nothing_in_common():
    # All n-grams are of one image, so all rarities are log 2 and cancel in the cosine. The caption
    # is the reference: each cosine 1, same length, 10 in all, 1000 as reported; the other image
    # shares nothing: 0.
    candidates = {"x": "a dog runs fast", "y": "nothing shared here at all"}
    references = {"x": ["a dog runs fast"], "y": ["two men sit down"]}
    assert score_each(candidates, references) == pytest.approx({"x": 1000.0, "y": 0.0})
    assert score_captions(candidates, references, bootstrap_samples=0)["cider"] == pytest.approx(
        500.0
    )


def test_cider_punishes_length():
    # "b c" against "b c d e": cosines 2 / (sqrt 2 * 2) and 1 / (1 * sqrt 3), none for three and
    # four words; two words of difference cost exp(-4 / 72).
    cider = Cider([[["b", "c", "d", "e"]], [["x", "y", "z"]]])
    cosines = 2 / (math.sqrt(2) * 2) + 1 / math.sqrt(3)
    assert cider.score(0, ["b", "c"]) == pytest.approx(10 * cosines / 4 * math.exp(-4 / 72))


def test_texts_are_normalised_alike_on_both_sides():
    plain = score_captions(
        {"x": "a dog 's ball", "y": "two cats"}, {"x": ["the dog 's ball"], "y": ["two red cats"]}
    )
    written = score_captions(
        {"y": "Two cats.", "x": "A dog's ball!"}, {"y": ["two red cats ."], "x": ["The dog's ball"]}
    )
    assert plain == written


# --- slow, plain code
# ---------------------------------------------------------------------------------------


def table_lcs(first, second):
    """The textbook table of all pairs of prefixes."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, left in enumerate(first):
        for j, right in enumerate(second):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
            )
    return table[-1][-1]


def test_longest_common_subsequence_equals_the_table():
    generator = random.Random(1)
    for _ in range(300):
        first, second = (generator.choices("abc", k=generator.randint(0, 12)) for _ in range(2))
        assert longest_common_subsequence(first, second) == table_lcs(first, second)


def ngrams_of(words, order):
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


def plain_bleu(candidates, references):
    """The paper's formula over counters, without the guards: None where a precision is 0 / 0 or
    0.
    """
    pairs = [
        (candidates[image].split(), [text.split() for text in references[image]])
        for image in references
    ]
    total = sum(len(words) for words, _ in pairs)
    nearest = sum(
        min((len(words) for words in group), key=lambda n: (abs(n - len(c)), n))
        for c, group in pairs
    )
    logs = []
    for order in range(1, 5):
        matched = guessed = 0
        for words, group in pairs:
            counts = ngrams_of(words, order)
            guessed += sum(counts.values())
            matched += sum(
                min(n, max(ngrams_of(r, order)[gram] for r in group)) for gram, n in counts.items()
            )
        logs.append(math.log(matched / guessed) if matched else None)
    penalty = min(1.0, math.exp(1 - nearest / total))
    return [
        None if None in logs[:n] else 100 * penalty * math.exp(sum(logs[:n]) / n)
        for n in range(1, 5)
    ]


def plain_cider(candidate, references, documents):
    """The paper's formula over dense vectors of all n-grams in sight; `documents`: all images'
    references.
    """
    total = 0.0
    for order in range(1, 5):
        grams = sorted(
            {gram for words in (candidate, *references) for gram in ngrams_of(words, order)}
        )
        containing = [
            sum(any(gram in ngrams_of(words, order) for words in group) for group in documents)
            for gram in grams
        ]
        rarity = np.log(len(documents)) - np.log(np.maximum(containing, 1))
        given = np.array([ngrams_of(candidate, order)[gram] for gram in grams]) * rarity
        for words in references:
            true = np.array([ngrams_of(words, order)[gram] for gram in grams]) * rarity
            norms = np.linalg.norm(given) * np.linalg.norm(true)
            bigrams = max(len(candidate) - 1, 0) - max(len(words) - 1, 0)
            cosine = np.minimum(given, true) @ true / norms if norms else 0.0
            total += cosine * math.exp(-(bigrams**2) / 72) / len(references)
    return 10 * total / 4


@pytest.mark.parametrize("seed", range(5))
def test_bleu_equals_the_plain_formula(seed):
    candidates, references = draw_set(seed)
    scores = score_captions(candidates, references, bootstrap_samples=0)
    plain = plain_bleu(candidates, references)
    assert plain[1] is not None
    for order, expected in enumerate(plain, start=1):
        assert scores[f"bleu_{order}"] == pytest.approx(expected or 0.0, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_cider_equals_the_plain_formula(seed):
    candidates, references = draw_set(seed)
    documents = [[text.split() for text in group] for group in references.values()]
    scores = score_each(candidates, references)
    for image, group in zip(references, documents, strict=True):
        expected = 100 * plain_cider(candidates[image].split(), group, documents)
        assert scores[image] == pytest.approx(expected, abs=1e-9)
    mean = score_captions(candidates, references, bootstrap_samples=0)["cider"]
    assert mean == pytest.approx(np.mean(list(scores.values())))


def test_cider_with_document_frequencies_of_another_set():
    candidates, references = draw_set(7)
    documents = [[text.split() for text in group] for group in draw_set(8, images=30)[1].values()]
    scores = score_each(candidates, references, frequencies=DocumentFrequencies.build(documents))
    for image, texts in references.items():
        expected = plain_cider(
            candidates[image].split(), [text.split() for text in texts], documents
        )
        assert scores[image] == pytest.approx(100 * expected, abs=1e-9)
    assert scores != pytest.approx(score_each(candidates, references))


def test_cider_takes_numbers_for_words():
    _, references = draw_set(3)
    groups = [[text.split() for text in texts] for texts in references.values()]
    numbers = [[[WORDS.index(word) for word in words] for words in group] for group in groups]
    texts, coded = Cider(groups), Cider(numbers)
    for image in range(len(groups)):
        assert coded.score(image, [2, 5, 6, 9]) == pytest.approx(
            texts.score(image, ["dog", "runs", "sits", "grass"])
        )


def test_constant_caption_is_the_best_reference_of_all():
    # In this set the first of the ranking is not the best, so the shortlist matters.
    _, references = draw_set(15, images=20)
    groups = [[text.split() for text in texts] for texts in references.values()]
    cider = Cider(groups)
    means = {tuple(w): cider.score_all([w] * len(groups)).mean() for group in groups for w in group}
    chosen = best_constant(groups, cider)
    assert means[chosen] == pytest.approx(max(means.values()))
    floor = score_captions(
        dict.fromkeys(references, " ".join(chosen)), references, bootstrap_samples=0
    )
    reported = score_captions(dict.fromkeys(references, "a"), references, bootstrap_samples=0)[
        "constant_caption"
    ]
    assert reported == {"caption": " ".join(chosen), **{name: floor[name] for name in NAMES}}


# --- the bootstrap
# ------------------------------------------------------------------------------------------


def test_resampled_scores_are_those_of_redrawn_sets():
    # The same draws, made of real mappings: an image drawn twice stands in them under two names.
    candidates, references = draw_set(11, images=8)
    images = sorted(references)
    drawn = np.random.default_rng(4).multinomial(8, np.full(8, 1 / 8), size=20)
    frequencies = DocumentFrequencies.build(
        [[text.split() for text in references[image]] for image in images]
    )
    expected = []
    for counts in drawn:
        names = [
            (f"{image}#{copy}", image)
            for image, count in zip(images, counts, strict=True)
            for copy in range(count)
        ]
        scores = score_captions(
            {name: candidates[image] for name, image in names},
            {name: references[image] for name, image in names},
            bootstrap_samples=0,
            frequencies=frequencies,
        )
        expected.append([scores[name] for name in NAMES])
    intervals = score_captions(candidates, references, bootstrap_samples=20, seed=4)["intervals"]
    np.testing.assert_allclose(
        list(intervals.values()), np.percentile(expected, [2.5, 97.5], axis=0).T, atol=1e-9
    )


def test_interval_of_a_mean_has_the_textbook_width():
    values = np.random.default_rng(0).gamma(2.0, size=(2000, 1))
    means = resample(values, lambda sums: sums / 2000, samples=4000, seed=1)
    assert means.shape == (4000, 1)
    ((low, high),) = percentile_interval(means)
    error = values.std() / math.sqrt(2000)
    assert [low, high] == pytest.approx(
        [values.mean() - 1.96 * error, values.mean() + 1.96 * error], abs=error / 5
    )


def test_intervals_follow_the_seed_and_close_on_equal_images():
    candidates, references = draw_set(2)
    first, again, other = (
        score_captions(candidates, references, seed=seed)["intervals"] for seed in (0, 0, 1)
    )
    assert first == again != other
    assert all(first[name][0] < first[name][1] for name in NAMES)
    alike = {str(image): "a dog runs here" for image in range(5)}
    scores = score_captions(alike, {image: ["a dog sits here"] for image in alike})
    assert scores["intervals"]["bleu_1"] == pytest.approx([75, 75])
    assert score_captions(candidates, references, bootstrap_samples=0)["intervals"] == {}


# --- the tree, edges and errors
# -----------------------------------------------------------------------------


def test_the_tree_holds_what_the_files_need():
    candidates = {"x": "a dog", "y": "two men sit"}
    references = {"x": ["a dog runs", "dogs"], "y": ["three men sit down"]}
    scores = score_captions(candidates, references)
    assert list(scores) == [
        *NAMES,
        "intervals",
        "constant_caption",
        "images",
        "mean_length",
        "mean_reference_length",
        "tokenisation",
        "tokenizer",
    ]
    assert list(scores["intervals"]) == list(NAMES)
    assert scores["images"] == 2
    assert scores["mean_length"] == pytest.approx(5 / 2)
    assert scores["mean_reference_length"] == pytest.approx(8 / 3)
    assert "lower-case" in scores["tokenisation"]
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_the_order_of_the_mappings_does_not_matter():
    candidates, references = draw_set(6)
    backwards = dict(reversed(candidates.items()))
    assert score_captions(backwards, references) == score_captions(candidates, references)


def test_captions_and_references_without_words_score_zero():
    scores = score_captions({"x": "...", "y": ""}, {"x": ["!", "?"], "y": ["."]})
    assert [scores[name] for name in NAMES] == pytest.approx([0.0] * 6)


@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        (
            {"a": "x", "b": "x"},
            {"b": ["x"]},
            "2 images with a caption, 1 with references, a has no reference: score the",
        ),
        (
            {"b": "x"},
            {"b": ["x"], "d": ["x"], "c": ["x"]},
            "1 images with a caption, 3 with references, c has no caption",
        ),
        ({}, {}, "no image to score: give at least one caption"),
        ({"a": "x"}, {"a": []}, "a has no reference: give at least one"),
    ],
)
def test_errors_name_counts_and_the_first_image(candidates, references, message):
    for score in (score_captions, score_each):
        with pytest.raises(DataError) as error:
            score(candidates, references)
        assert str(error.value).startswith(message)
        assert "\n" not in str(error.value)


def test_other_errors():
    with pytest.raises(
        DataError, match="no references to take document frequencies from: give at least one image"
    ):
        DocumentFrequencies.build([])
    with pytest.raises(ValueError, match="1 candidates for 2 images"):
        Cider([[["a"]], [["b"]]]).score_all([["a"]])


def test_scoring_imports_no_tensorflow():
    code = "import sys, imgcap.evaluation.scores; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
