"""The processes that `tests.bench.bulk` times, measures and kills."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT

_MAIN = "import sys; from {} import main; sys.exit(main())"
PREPARE = [sys.executable, "-c", _MAIN.format("imgcap.cli.prepare")]
EXPORT = [sys.executable, "-c", _MAIN.format("export.cli")]
CAPTION = [sys.executable, "-c", _MAIN.format("serving.cli.batch.run")]
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LOOK_SECONDS = 0.2
IMAGES_PER_SHARD = 32
"""Of a job that is killed: small, so that some are finished before a kill."""

_LOOP = """
import sys, time
started = time.monotonic()
from pathlib import Path
from imgcap.host import quiet
quiet.import_tensorflow()
import tensorflow as tf
decode = tf.saved_model.load(sys.argv[1]).signatures["decode"]
photos = sorted(Path(sys.argv[2]).iterdir())
def caption(some):
    image_bytes = tf.constant([photo.read_bytes() for photo in some])
    return decode(image_bytes=image_bytes)["caption"].numpy()
caption(photos[:16])
warm = time.monotonic()
for place in range(0, len(photos), 16):
    caption(photos[place : place + 16])
ended = time.monotonic()
print(len(photos) / (ended - warm), len(photos) / (ended - started))
"""


class Run(NamedTuple):
    """A job that ended well.

    Attributes:
        seconds: wall time of the command, its start included.
        peak: most bytes that its processes had resident together, looked at five times a second.
    """

    seconds: float
    peak: int


def run_command(command: list[str]) -> None:
    """Runs a command in the checkout; SystemExit with its last line if it fails."""
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit((ended.stderr.strip().splitlines() or ["it said nothing"])[-1])


def export_captioner(base: Path) -> Path:
    """Exports the captioner in the box; returns the folder of the version."""
    run_command([*EXPORT, "--workdir=pretrained:flickr8k", f"--output_dir={base}"])
    return base / "1"


class Bulk:
    """Bulk captioning by one export."""

    def __init__(self, export: Path, folder: Path) -> None:
        """Runs nothing yet.

        Args:
            export: folder of the version.
            folder: for the answers.
        """
        self._export, self._folder = export, folder

    def output(self, name: str) -> Path:
        """The file of the answers of a job."""
        return self._folder / f"{name}.jsonl"

    def start(self, photos: Path, name: str, *flags: str) -> subprocess.Popen:
        """Starts a job in a process group of its own."""
        command = [*CAPTION, f"--input={photos}", f"--output={self.output(name)}"]
        return subprocess.Popen(
            [*command, f"--model={self._export.parent}", *flags],
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def caption(self, photos: Path, name: str) -> Run:
        """Captions a folder; SystemExit if the job fails."""
        started, peak = time.monotonic(), 0
        process = self.start(photos, name)
        while process.poll() is None:
            peak = max(peak, resident_bytes(process.pid))
            time.sleep(LOOK_SECONDS)
        if process.returncode:
            raise SystemExit(f"the job {name} ended with status {process.returncode}")
        return Run(time.monotonic() - started, peak)

    def time_loop(self, photos: Path) -> tuple[float, float]:
        """Times one process that calls the export in batches of 16.

        Returns:
            Images a second in its loop, and with its start.
        """
        command = [sys.executable, "-c", _LOOP, str(self._export), str(photos)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        loop, whole = map(float, ended.stdout.split())
        return loop, whole


def resident_bytes(pid: int) -> int:
    """The memory of a process and all that it started, in bytes; 0 if it has ended."""
    total, waiting = 0, [pid]
    while waiting:
        process = Path("/proc", str(waiting.pop()))
        with contextlib.suppress(OSError):
            total += int((process / "statm").read_text().split()[1]) * PAGE_BYTES
            for task in (process / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return total


def kill_at_random(bulk: Bulk, photos: Path, kills: int, rng: random.Random) -> list[int]:
    """Kills a job again and again once it has made more, and lets it end.

    Args:
        bulk: the export.
        photos: folder of the images.
        kills: how often.
        rng: draws the moments.

    Returns:
        The number of finished shards before each kill.
    """
    done: list[int] = []
    parts = bulk.output("kill").with_suffix(".parts")
    while len(done) < kills:
        process = bulk.start(photos, "kill", f"--images_per_shard={IMAGES_PER_SHARD}")
        before = done[-1] if done else 0
        while process.poll() is None and _finished(parts) <= before:
            time.sleep(LOOK_SECONDS)
        time.sleep(rng.uniform(0, 5))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done.append(_finished(parts))
    process = bulk.start(photos, "kill", f"--images_per_shard={IMAGES_PER_SHARD}")
    if process.wait():
        raise SystemExit(f"the killed job ended with status {process.returncode}")
    return done


def _finished(parts: Path) -> int:
    """Counts the finished shards of a job."""
    return len(list(parts.glob("*.done")))


def answered(output: Path) -> list[str]:
    """The images that a file of answers has, in its order."""
    return [json.loads(line)["image"] for line in output.read_text().splitlines()]
