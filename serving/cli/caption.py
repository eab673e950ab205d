"""imgcap-caption: captions of image files, from a running server."""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from imgcap.cli import command
from imgcap.config import Section, setting
from imgcap.errors import ConfigError
from imgcap.host.progress import Progress
from serving.cli.connection import ConnectionConfig, client_arguments
from serving.client import BadImage, Caption, CaptionClient, Outcome
from serving.client.heatmap import draw_heatmap
from serving.client.images import ImageSource, find_images, open_image, read_image

STDIN = "-"
"""The argument that stands for one image on standard input."""

MANY = 20
"""The least number of images for which a progress bar is shown."""


@dataclass(frozen=True)
class CaptionConfig(Section):
    """How to print the answers."""

    concurrency: int = setting(2, "Images under way at a time.", minimum=1, maximum=256)
    json: bool = setting(False, "Print one JSON array of objects instead of lines.")
    jsonl_output: str = setting(
        "", "Write one JSON object a line to this file, as the answers come, instead of printing."
    )
    heatmap: str = setting(
        "",
        "PNG file to draw, for each word of one image's caption, where the model looked; needs a "
        "model that attends.",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The console command; see `imgcap-caption --help`."""
    return command.main(COMMAND, argv)


def caption_files(
    connection: ConnectionConfig, config: CaptionConfig, arguments: Sequence[str]
) -> int:
    """Captions the images that the arguments name and prints each caption when it is there.

    Args:
        connection: which model to ask.
        config: how to print.
        arguments: image files, folders and globs; "-" is one image on standard input.

    Returns:
        0 if every image has a caption, else 1.

    Raises:
        ServingError: the server is away or refuses; a bad image alone does not stop the others.
    """
    names = list(find_images(arguments))
    if not names:
        wanted = f"no image in {', '.join(arguments)}" if arguments else "no image is given"
        raise ConfigError(f"{wanted}: name files, folders or globs (see {COMMAND.name} --help)")
    if config.json and config.jsonl_output:
        raise ConfigError("--json and --jsonl_output are both given: choose one")
    if config.heatmap and len(names) > 1:
        raise ConfigError(f"--heatmap={config.heatmap} is about one image: {len(names)} are given")
    failures, objects = 0, []
    with _opened(config.jsonl_output) as file:
        for name, outcome in _outcomes(connection, config, names):
            _raise_or_report(name, outcome)
            failures += outcome.error is not None
            if config.heatmap and outcome.caption is not None:
                _write_heatmap(config.heatmap, outcome.source, outcome.caption)
            if file is not None:
                print(
                    json.dumps(to_object(name, outcome), ensure_ascii=False), file=file, flush=True
                )
            elif config.json:
                objects.append(to_object(name, outcome))
            elif outcome.caption is not None:
                print(f"{name}\t{outcome.caption.text}", flush=True)
    if config.json:
        print(json.dumps(objects, indent=2, ensure_ascii=False))
    return 1 if failures else 0


def to_object(name: str, outcome: Outcome) -> dict[str, Any]:
    """Makes the object that the JSON outputs have for an image.

    Args:
        name: path of the image, as it was found.
        outcome: its caption or error.

    Returns:
        Path, caption, score and error, and if there is a caption also the alternatives.
    """
    caption = outcome.caption
    if caption is None:
        return {"image": name, "caption": None, "score": None, "error": str(outcome.error)}
    return {
        "image": name,
        "caption": caption.text,
        "score": caption.score,
        "error": None,
        "alternatives": [
            {"caption": other.text, "score": other.score} for other in caption.alternatives
        ],
        "model_version": caption.version,
        "seconds": round(caption.seconds, 4),
    }


def _outcomes(
    connection: ConnectionConfig, config: CaptionConfig, names: list[str]
) -> Iterator[tuple[str, Outcome]]:
    images = (sys.stdin.buffer.read() if name == STDIN else name for name in names)
    with (
        CaptionClient(**client_arguments(connection)) as client,
        _progress(config, len(names)) as progress,
    ):
        outcomes = client.caption_many(images, config.concurrency, progress)
        yield from zip(names, outcomes, strict=True)


def _progress(
    config: CaptionConfig, count: int
) -> contextlib.AbstractContextManager[Progress | None]:
    """A bar for many images, if it can't get between the captions."""
    elsewhere = bool(config.json or config.jsonl_output) or not sys.stdout.isatty()
    if count < MANY or not elsewhere or not sys.stderr.isatty():
        return contextlib.nullcontext()
    return Progress("captioning", count, "images")


def _write_heatmap(path: str, source: ImageSource, caption: Caption) -> None:
    if not caption.attention:
        raise ConfigError(
            f"--heatmap={path}: this model does not attend; train one with --decoder=attention or "
            "adaptive"
        )
    picture = draw_heatmap(open_image(read_image(source)), caption)
    try:
        picture.save(path, "PNG")
    except OSError as error:
        raise ConfigError(f"--heatmap={path} can't be written ({error.strerror})") from None


def _opened(path: str) -> contextlib.AbstractContextManager[TextIO | None]:
    if not path:
        return contextlib.nullcontext()
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--jsonl_output={path} can't be written ({error.strerror})") from None


def _raise_or_report(name: str, outcome: Outcome) -> None:
    """Prints a line for a bad image; any other error ends the command.

    The others would hit every further image too.
    """
    if outcome.error is None:
        return
    if not isinstance(outcome.error, BadImage):
        raise outcome.error
    print(f"{COMMAND.name}: {name}: {outcome.error}", file=sys.stderr)


COMMAND = command.Command(
    name="imgcap-caption",
    summary="Captions image files, folders, globs and standard input (-) with a running server: a "
    "path, a tab, a caption a line. Exit status: 0 all have a caption, 1 some have none, 2 wrong "
    "usage, 3 the server is away, late or busy.",
    sections=(ConnectionConfig, CaptionConfig),
    run=caption_files,
    positional="IMAGE...",
)
