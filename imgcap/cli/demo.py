"""`imgcap-demo`: the whole road on a data set it draws itself, in minutes, with the very commands a
user types.
"""

import json
import random
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from imgcap.cli import command
from imgcap.config import Section, setting
from imgcap.data.raw import drawn
from imgcap.errors import ImgcapError

CONFIG = Path(__file__).parents[2] / "configs" / "demo.cfg"
SERVED_IMAGES = 12
SERVER_PATIENCE = 120.0
TILE, CAPTION_HEIGHT, COLUMNS = 240, 44, 4
RIGHT, WRONG = (26, 127, 55), (190, 40, 40)


@dataclass(frozen=True)
class DemoConfig(Section):
    """The demo."""

    demo_dir: str = setting(
        "demo", "Folder for all that the demo writes; an earlier demo's is replaced.", required=True
    )
    images: int = setting(900, "Scenes to draw.", minimum=20)
    seed: int = setting(0, "Seed of the scenes.")
    epochs: int = setting(
        0, "Passes over the training scenes; 0 takes what configs/demo.cfg says.", minimum=0
    )


def run(config: DemoConfig, arguments: list[str]) -> int:
    """Draws, prepares, trains, evaluates, exports, serves and asks."""
    del arguments
    start, folder = time.monotonic(), Path(config.demo_dir)
    _clear(folder)
    print(f"drawing {config.images} scenes of coloured shapes, 5 captions each, in {folder}/raw")
    drawn.write_dataset(folder / "raw", config.images, config.seed)
    epochs = [f"--epochs={config.epochs}"] if config.epochs else []
    data, workdir, model = f"{folder}/data", f"{folder}/run", f"{folder}/models/imgcap"
    _call("imgcap-prepare", f"--raw_dir={folder}/raw", f"--output_dir={data}", "--num_shards=4")
    _call(
        "imgcap-train",
        f"--flagfile={CONFIG}",
        f"--data_dir={data}",
        f"--workdir={workdir}",
        *epochs,
    )
    _call("imgcap-evaluate", f"--workdir={workdir}", f"--data_dir={data}", "--split=test")
    _call("imgcap-export", f"--workdir={workdir}", f"--output_dir={model}")
    answers = _serve_and_ask(folder, Path(model))
    right = _report(folder, answers)
    print(f"the whole road took {time.monotonic() - start:.0f} s")
    print(
        f"now open the page:  imgcap-serve --model_base_path={model} --port=8500   and   streamlit "
        "run app.py"
    )
    return 0 if right else 1


def _clear(folder: Path) -> None:
    marker = folder / ".imgcap-demo"
    if folder.exists() and not marker.exists():
        raise ImgcapError(f"{folder} exists and is no earlier demo: give another --demo_dir")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.touch()


def _program(name: str) -> str:
    # Beside the interpreter first: the demo must work in an environment that was not activated.
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise ImgcapError(f"{name} is not installed: pip install 'imgcap[train]'")
    return found


def _call(name: str, *arguments: str) -> None:
    print(f"\n$ {name} {shlex.join(arguments)}", flush=True)
    status = subprocess.run([_program(name), *arguments], check=False).returncode
    if status:
        raise ImgcapError(f"{name} ended with status {status}: see its message above")


def _serve_and_ask(folder: Path, model: Path) -> list[dict[str, Any]]:
    names = (folder / "raw" / "Flickr_8k.testImages.txt").read_text(encoding="utf-8").split()
    images = [str(folder / "raw" / "Images" / name) for name in names]
    port = _free_port()
    serve = [f"--model_base_path={model}", f"--port={port}"]
    print(f"\n$ imgcap-serve {shlex.join(serve)} &", flush=True)
    server = subprocess.Popen([_program("imgcap-serve"), *serve])
    try:
        _wait_until_open(port, server)
        print(
            f"$ imgcap-caption {folder}/raw/Images/scene_0009.jpg … ({len(images)} held-out "
            "images) --json",
            flush=True,
        )
        ask = [_program("imgcap-caption"), *images, f"--server=localhost:{port}", "--json"]
        asked = subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=False)
    finally:
        server.terminate()
        server.wait()
    if asked.returncode:
        raise ImgcapError("imgcap-caption failed: see its message above")
    return json.loads(asked.stdout)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def _wait_until_open(port: int, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + SERVER_PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.2)
    raise ImgcapError(
        f"imgcap-serve did not open port {port} in {SERVER_PATIENCE:.0f} s: see its message above"
    )


def _report(folder: Path, answers: list[dict[str, Any]]) -> bool:
    lines = (folder / "run" / "captions_test.jsonl").read_text(encoding="utf-8").splitlines()
    references = {line["image"]: line["references"] for line in map(json.loads, lines)}
    right = [
        drawn.names_colour_and_shape(answer["caption"], references[_name(answer)])
        for answer in answers
    ]
    print("\nheld-out images, captioned over gRPC:")
    for answer in answers[:SERVED_IMAGES]:
        wanted = random.Random(_name(answer)).choice(references[_name(answer)])
        print(
            f"  {_name(answer)}  {answer['caption']}  ({answer['score']:.2f})   a person: {wanted}"
        )
    share = sum(right) / len(right)
    scores = json.loads((folder / "run" / "scores_test.json").read_text(encoding="utf-8"))
    print(
        f"\ncolour and shape right: {sum(right)} of {len(right)} held-out images ({share:.0%}; "
        "wanted: 80 %)"
    )
    print(f"test scores: CIDEr {scores['cider']:.1f}, BLEU-4 {scores['bleu_4']:.1f}")
    picture = folder / "captions.png"
    _draw(picture, answers[:SERVED_IMAGES], right)
    print(f"picture: {picture}   contact sheet: {folder}/run/contact_sheet_test.html")
    return share >= 0.8


def _name(answer: dict[str, Any]) -> str:
    return Path(answer["image"]).name


def _draw(path: Path, answers: list[dict[str, Any]], right: list[bool]) -> None:
    rows = -(-len(answers) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION_HEIGHT)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for place, (answer, is_right) in enumerate(zip(answers, right, strict=False)):
        left, top = place % COLUMNS * TILE, place // COLUMNS * (TILE + CAPTION_HEIGHT)
        with Image.open(answer["image"]) as photo:
            fitted = ImageOps.contain(photo, (TILE - 16, TILE - 16))
        sheet.paste(fitted, (left + (TILE - fitted.width) // 2, top + (TILE - fitted.height) // 2))
        text = _wrapped(draw, answer["caption"], font)
        draw.multiline_text((left + 10, top + TILE - 4), text, RIGHT if is_right else WRONG, font)
    sheet.save(path)


def _wrapped(draw: ImageDraw.ImageDraw, caption: str, font: ImageFont.ImageFont) -> str:
    lines = [""]
    for word in caption.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) > TILE - 20:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines[:2])


COMMAND = command.Command(
    name="imgcap-demo",
    summary="Draws a data set of coloured shapes, then prepares, trains, evaluates, exports, "
    "serves and captions, each by the command you would type, and shows the captions of images "
    "that training never saw.",
    sections=(DemoConfig,),
    run=run,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
