"""The demo from its start to its end, by the commands that a user types; minutes in all."""

import json
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgcap.cli import command
from imgcap.cli.demo.report import report
from imgcap.cli.demo.samples import caption_samples
from imgcap.config import Section, setting
from imgcap.data.raw.drawn import write_dataset
from imgcap.errors import ImgcapError
from imgcap.host.programs import call_command, find_program

SERVER_PATIENCE = 120.0
"""Seconds that a server gets to open its port."""


@dataclass(frozen=True)
class DemoConfig(Section):
    """Options of the demo."""

    demo_dir: str = setting(
        "demo",
        "Folder for all that the demo writes; an earlier demo's is replaced.",
        required=True,
        path=True,
    )
    images: int = setting(900, "Scenes to draw.", minimum=20)
    seed: int = setting(0, "Seed of the scenes.")
    epochs: int = setting(
        0, "Passes over the training scenes; 0 takes what the recipe demo says.", minimum=0
    )


def run(config: DemoConfig, arguments: list[str]) -> int:
    """Captions photographs; then draws, prepares, trains, evaluates, exports, serves and asks."""
    del arguments
    folder = Path(config.demo_dir)
    _clear(folder)
    caption_samples(folder)
    start = time.monotonic()
    print(f"drawing {config.images} scenes of coloured shapes, 5 captions each, in {folder}/raw")
    write_dataset(folder / "raw", config.images, config.seed)
    epochs = [f"--epochs={config.epochs}"] if config.epochs else []
    data, workdir, model = f"{folder}/data", f"{folder}/run", f"{folder}/models/imgcap"
    call_command(
        "imgcap-prepare",
        f"--raw_dir={folder}/raw",
        f"--output_dir={data}",
        "--num_shards=4",
        "--pictures=drawings",
    )
    call_command(
        "imgcap-train",
        "--flagfile=demo",
        f"--data_dir={data}",
        f"--workdir={workdir}",
        *epochs,
    )
    call_command("imgcap-evaluate", f"--workdir={workdir}", f"--data_dir={data}", "--split=test")
    call_command("imgcap-export", f"--workdir={workdir}", f"--output_dir={model}")
    answers = _serve_and_ask(folder, Path(model))
    right = report(folder, answers)
    print(f"the whole road took {time.monotonic() - start:.0f} s")
    print(
        f"now open the page:  imgcap-serve --model_base_path={model} --port=8500   and   "
        "imgcap-page"
    )
    return 0 if right else 1


def _clear(folder: Path) -> None:
    """Empties the folder of an earlier demo, or makes a new one.

    Raises:
        ImgcapError: the folder exists and no demo made it.
    """
    marker = folder / ".imgcap-demo"
    if folder.exists() and not marker.exists():
        raise ImgcapError(f"{folder} exists and is no earlier demo: give another --demo_dir")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.touch()


def _serve_and_ask(folder: Path, model: Path) -> list[dict[str, Any]]:
    """Starts a server, has imgcap-caption ask it about the test images, and stops it.

    Args:
        folder: the demo's, with the drawn images in `raw`.
        model: folder of the exported versions.

    Returns:
        An answer an image, as `imgcap-caption --json` prints them.
    """
    names = (folder / "raw" / "Flickr_8k.testImages.txt").read_text(encoding="utf-8").split()
    images = [str(folder / "raw" / "Images" / name) for name in names]
    port = free_port()
    serve = [f"--model_base_path={model}", f"--port={port}"]
    print(f"\n$ imgcap-serve {shlex.join(serve)} &", flush=True)
    server = subprocess.Popen([find_program("imgcap-serve"), *serve])
    try:
        wait_until_open(port, server)
        print(
            f"$ imgcap-caption {folder}/raw/Images/scene_0009.jpg … ({len(images)} held-out "
            "images) --json",
            flush=True,
        )
        ask = [find_program("imgcap-caption"), *images, f"--server=localhost:{port}", "--json"]
        asked = subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=False)
    finally:
        server.terminate()
        server.wait()
    if asked.returncode:
        raise ImgcapError("imgcap-caption failed: see its message above")
    return json.loads(asked.stdout)


def free_port() -> int:
    """Picks a TCP port of this machine that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def wait_until_open(port: int, server: subprocess.Popen[bytes]) -> None:
    """Waits until a server accepts connections.

    Args:
        port: of this machine.
        server: its process.

    Raises:
        ImgcapError: the process ended, or `SERVER_PATIENCE` passed.
    """
    deadline = time.monotonic() + SERVER_PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.2)
    raise ImgcapError(
        f"imgcap-serve did not open port {port} in {SERVER_PATIENCE:.0f} s: see its message above"
    )


COMMAND = command.Command(
    name="imgcap-demo",
    summary="Captions sample photographs with the captioner that comes with the package. Then "
    "draws a data set of coloured shapes, prepares, trains, evaluates, exports, serves and "
    "captions, each by the command you would type, and shows the captions of images that training "
    "never saw.",
    sections=(DemoConfig,),
    run=run,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
