"""The public function of the run room, used as its documentation says."""

import json
import subprocess
import sys
from pathlib import Path

import keras

from imgcap.cli import evaluate
from imgcap.data.image import decode
from imgcap.run import load_captioner


def test_a_photo_gets_the_caption_that_evaluation_gives(
    workdir: Path, data_dir: Path, raw_dir: Path
) -> None:
    argv = ["imgcap-evaluate", f"--workdir={workdir}", f"--data_dir={data_dir}", "--split=dev"]
    assert evaluate.main(argv) == 0
    lines = (workdir / "captions_dev.jsonl").read_text(encoding="utf-8").splitlines()
    policy = keras.config.dtype_policy().name
    captioner, config = load_captioner(workdir)
    assert keras.config.dtype_policy().name == policy
    for row in map(json.loads, lines):
        photo = (raw_dir / "Images" / row["image"]).read_bytes()
        image = decode(photo, config.model.image_size)[None]
        captions = captioner.caption_features(captioner.encoder(image), config.decode)
        assert captioner.to_text(captions.tokens)[0, 0].numpy().decode() == row["caption"]


def test_reading_a_run_directory_needs_no_tensorflow() -> None:
    code = "import sys, imgcap.run.directory; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
