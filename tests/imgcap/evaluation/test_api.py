"""The public function of evaluation, used as its documentation says."""

import subprocess
import sys

from imgcap.evaluation import score_captions

CAPTIONS = {"1.jpg": "a dog runs", "2.jpg": "two children play"}
REFERENCES = {"1.jpg": ["a dog runs", "a brown dog on grass"], "2.jpg": ["two children play"]}


def test_captions_of_any_model_are_scored() -> None:
    scores = score_captions(CAPTIONS, REFERENCES)
    assert scores["images"] == 2 and scores["mean_length"] == 3.0
    assert scores["rouge_l"] > 99.9 > scores["constant_caption"]["rouge_l"]
    low, high = scores["intervals"]["cider"]
    assert low <= scores["cider"] <= high


def test_importing_evaluation_needs_no_tensorflow() -> None:
    code = "import sys, imgcap.evaluation; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
