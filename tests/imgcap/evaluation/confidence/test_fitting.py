"""Fitting of confidence: the regression by its own equations, the human median by the scorer."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from imgcap.cli import evaluate
from imgcap.data.shards import Reference
from imgcap.data.text.tokenisation import normalise
from imgcap.errors import DataError, RunError
from imgcap.evaluation.confidence.fitting import human_median, measure_spread
from imgcap.evaluation.confidence.logistic import RIDGE, fit_regression, predict
from imgcap.evaluation.scores import score_each
from imgcap.evaluation.scores.cider import DocumentFrequencies
from imgcap.run.confidence_file import load_confidence, save_confidence


def draw(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, labels and the probabilities that the labels were drawn by."""
    rng = np.random.default_rng(0)
    inputs = rng.normal([-6, -2, 11, 0, 1], [2, 0.5, 3, 1, 0.1], size=[count, 5])
    standard = (inputs - [-6, -2, 11, 0, 1]) / [2, 0.5, 3, 1, 0.1]
    probabilities = 1 / (1 + np.exp(-(standard @ [1.5, 0.3, -0.5, 0, -0.8] - 0.7)))
    return inputs, rng.random(count) < probabilities, probabilities


def test_a_fit_finds_the_probabilities_that_drew_the_labels() -> None:
    inputs, good, probabilities = draw(20_000)
    found = predict(fit_regression(inputs, good), inputs)
    assert np.abs(found - probabilities).max() < 0.05


def test_a_fit_maximises_its_likelihood() -> None:
    """By nudging each number: none makes the penalised likelihood greater."""
    inputs, good, _ = draw(200)
    best = fit_regression(inputs, good)

    def likelihood(weights: np.ndarray, bias: float) -> float:
        found = predict(best._replace(weights=weights, bias=bias), inputs)
        imagined = predict(best._replace(weights=weights, bias=bias), best.means)
        data = np.log(np.where(good, found, 1 - found)).sum()
        ridge = 0.5 * RIDGE * np.square(weights).sum()
        return data + np.log(imagined) + np.log(1 - imagined) - ridge

    top = likelihood(best.weights, best.bias)
    for step in (-0.03, 0.03):
        for place in range(5):
            nudged = best.weights + step * (np.arange(5) == place)
            assert likelihood(nudged, best.bias) < top
        assert likelihood(best.weights, best.bias + step) < top


@pytest.mark.parametrize("label", [True, False])
def test_few_captions_of_one_kind_leave_a_doubt(label: bool) -> None:
    inputs = np.ones([3, 5])
    found = predict(fit_regression(inputs, np.full(3, label)), inputs)
    # Three of three, with one imagined success and one imagined failure: 4 of 5.
    np.testing.assert_allclose(found, 0.8 if label else 0.2, atol=1e-4)


def test_the_human_median_is_the_scorers() -> None:
    texts = {
        "1": ("a dog runs on grass", "a brown dog runs", "the dog is on the grass"),
        "2": ("two children play", "two kids play with a ball", "kids in a park"),
        "3": ("a man rides a bike", "a man on a red bike", "someone rides"),
    }
    people = [Reference(name, group) for name, group in texts.items()]
    groups = [[normalise(text) for text in group] for group in texts.values()]
    frequencies = DocumentFrequencies.build(groups)
    each = [
        score_each(
            {name: group[at] for name, group in texts.items()},
            {name: group[:at] + group[at + 1 :] for name, group in texts.items()},
            frequencies=frequencies,
        )
        for at in range(3)
    ]
    expected = np.median([list(scores.values()) for scores in each]) / 100
    assert human_median(people)[0] == pytest.approx(expected)


def test_one_caption_an_image_says_nothing_of_people() -> None:
    with pytest.raises(DataError, match="one caption an image.*calibrate on data with several"):
        human_median([Reference("1", ("a dog",)), Reference("2", ("a cat",))])


def test_the_spread_of_many_images_is_their_covariance() -> None:
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=[6, 6])
    pooled = rng.normal(size=[5000, 6]) @ mixing + 3
    spread = measure_spread(pooled)
    assert spread.directions.shape == (6, 5)
    along = spread.directions.astype(np.float64)
    covariance = (along * spread.deviations**2) @ along.T
    covariance += spread.rest**2 * (np.eye(6) - along @ along.T)
    np.testing.assert_allclose(covariance, np.cov(pooled.T), rtol=1e-3, atol=1e-3)


def test_the_spread_of_one_image_is_finite() -> None:
    spread = measure_spread(np.ones([1, 4]))
    assert spread.directions.shape == (4, 1) and spread.rest > 0 and spread.deviations.min() > 0


@pytest.fixture(scope="module")
def calibrated(workdir: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run that `imgcap-evaluate --calibrate` has calibrated and evaluated."""
    run = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(workdir, run)
    flags = [f"--workdir={run}", f"--data_dir={data_dir}", "--split=test", "--calibrate"]
    assert evaluate.main(["imgcap-evaluate", *flags]) == 0
    return run


def test_calibrate_leaves_what_evaluation_shows(calibrated: Path) -> None:
    fitted = load_confidence(calibrated)
    assert fitted is not None and fitted.facts["split"] == "dev"
    assert 0 <= fitted.facts["calibration_error"] <= 1
    captions = (calibrated / "captions_test.jsonl").read_text(encoding="utf-8").splitlines()
    found = [float(re.search(r'"confidence": ([\d.]+)', line)[1]) for line in captions]
    assert len(found) == len(captions) and all(0 < value < 1 for value in found)
    assert (calibrated / "confidence_test.png").read_bytes().startswith(b"\x89PNG")
    page = (calibrated / "contact_sheet_test.html").read_text(encoding="utf-8")
    assert 'id="by-confidence"' in page and "data:image/png" in page
    places = sorted(int(place) for place in re.findall(r"--place: (\d+)", page))
    assert places == list(range(len(captions)))


def test_another_search_has_no_confidence(
    calibrated: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--workdir={calibrated}", f"--data_dir={data_dir}", "--beam_width=1"]
    assert evaluate.main(["imgcap-evaluate", *flags]) == 0
    assert "no confidence: --calibrate fits it" in capsys.readouterr().out
    assert '"confidence"' not in (calibrated / "captions_test_beam_width=1.jsonl").read_text()


def test_a_file_of_confidence_comes_back(calibrated: Path, tmp_path: Path) -> None:
    fitted = load_confidence(calibrated)
    assert load_confidence(tmp_path) is None and fitted is not None
    save_confidence(tmp_path, fitted)
    again = load_confidence(tmp_path)
    assert again is not None and again.facts == fitted.facts
    for part, other in zip(fitted.calibration, again.calibration, strict=True):
        for one, two in zip(part, other, strict=True):
            np.testing.assert_array_equal(one, two)
    (tmp_path / "confidence.npz").write_bytes(b"PK but no archive")
    with pytest.raises(RunError, match="confidence.npz is damaged.*--calibrate again"):
        load_confidence(tmp_path)
    (tmp_path / "confidence.json").write_text("{")
    with pytest.raises(RunError, match="confidence.json can't be read.*--calibrate again"):
        load_confidence(tmp_path)
