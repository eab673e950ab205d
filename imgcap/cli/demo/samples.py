"""The first half of the demo: the captioner of the package says what is on sample photographs."""

import json
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imgcap.cli.demo.report import draw_captions
from imgcap.config.confidence import SURE
from imgcap.data.samples import find_samples
from imgcap.errors import ImgcapError
from imgcap.host.programs import find_program
from imgcap.run.pretrained import DEFAULT, pretrained_names


def caption_samples(folder: Path) -> None:
    """Captions the sample photographs, prints the captions and draws `samples.png`.

    Without the captioner, one line says so.

    Args:
        folder: the demo's.

    Raises:
        ImgcapError: imgcap-caption failed.
    """
    if DEFAULT not in pretrained_names():
        print(f"this installation has no {DEFAULT}: no captions of sample photographs")
        return
    samples = find_samples()
    arguments = [str(next(iter(samples.values())).parent), "--local", "--json"]
    print(f"\n$ imgcap-caption {shlex.join(arguments)}", flush=True)
    ask = [find_program("imgcap-caption"), *arguments]
    asked = subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=False)
    if asked.returncode:
        raise ImgcapError("imgcap-caption failed: see its message above")
    answers = {Path(answer["image"]).stem: answer for answer in json.loads(asked.stdout)}
    ordered = [answers[name] for name in samples]
    print("\nphotographs that the captioner has never seen, and how far to trust each caption:")
    for answer in ordered:
        print(f"  {Path(answer['image']).name:<14}{_trust(answer):>4}  {answer['caption']}")
    picture = folder / "samples.png"
    drawn = [
        {"image": answer["image"], "caption": f"{_trust(answer)} {answer['caption']}".strip()}
        for answer in ordered
    ]
    draw_captions(picture, drawn, [_is_sure(answer) for answer in ordered], doubt=True)
    print(f"picture: {picture} (in green what is at least {SURE:.0%} sure)\n")


def _trust(answer: Mapping[str, Any]) -> str:
    """The confidence as a percentage; empty if the captioner gives none."""
    confidence = answer["confidence"]
    return "" if confidence is None else f"{confidence:.0%}"


def _is_sure(answer: Mapping[str, Any]) -> bool:
    return answer["confidence"] is not None and answer["confidence"] >= SURE
