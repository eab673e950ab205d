"""Calls of SavedModels timed in a process of their own, since thread settings hold for a whole
process.
"""

import contextlib
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from imgcap.errors import RunError

SCRIPT = Path(__file__).with_name("timed_calls.py")


class Subject(NamedTuple):
    """A model that is called.

    Attributes:
        folder: of the SavedModel.
        signature: called with its only input, `images` or `image_bytes`; unused by OpenVINO.
        image_size: height and width in pixels of the pictures that are drawn as input.
        image_file: a picture to take in place of drawn ones; empty for none.
        openvino: precision, 'f32' or 'bf16', in which OpenVINO runs the model in place of
            TensorFlow; empty for TensorFlow.
    """

    folder: str
    signature: str = ""
    image_size: int = 0
    image_file: str = ""
    openvino: str = ""


Timer = Callable[[Subject, int, int], list[float]]
"""Calls a subject with so many rows, so many times; returns the seconds of each call."""


@contextlib.contextmanager
def timing_process(
    subjects: Sequence[Subject], intra_op: int = 0, inter_op: int = 0
) -> Iterator[Timer]:
    """Runs `timed_calls.py`.

    Args:
        subjects: all that will be asked for; each is loaded when it first is.
        intra_op: threads of one operation; 0 is TensorFlow's default.
        inter_op: operations at once; 0 is TensorFlow's default.

    Yields:
        A timer, which raises a `RunError` if the process has ended.
    """
    settings = {
        "intra_op": intra_op,
        "inter_op": inter_op,
        "subjects": [subject._asdict() for subject in subjects],
    }
    # -I: the process finds neither this package nor the user's environment, as a model server.
    command = [sys.executable, "-I", str(SCRIPT), json.dumps(settings)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        requests, answers = process.stdin, process.stdout
        assert requests and answers

        def ask(subject: Subject, rows: int, calls: int) -> list[float]:
            # If it has ended, the answer below is missing, which is what the user is told.
            with contextlib.suppress(BrokenPipeError):
                requests.write(f"{list(subjects).index(subject)} {rows} {calls}\n")
                requests.flush()
            answer = answers.readline()
            if not answer:
                raise RunError(
                    f"{SCRIPT.name} on {subject.folder} ended before its answer: run by hand to "
                    f"see why: {shlex.join(command)}"
                )
            return [float(seconds) for seconds in answer.split()]

        yield ask
