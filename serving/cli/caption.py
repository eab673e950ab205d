"""imgcap-caption: captions of image files, from a running server or by TensorFlow right here."""

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgcap.cli import command
from imgcap.config import Section, setting
from imgcap.data.pictures import load_rgb
from imgcap.errors import ConfigError
from imgcap.files.names import write_line, write_name
from imgcap.files.writing import write_bytes
from imgcap.host import quiet
from imgcap.host.progress import Progress
from imgcap.signature import DECODE_DETAILS, GREEDY
from serving.cli.answers.answer_file import Kept
from serving.cli.answers.formats import FormatConfig, judge, open_output
from serving.cli.connection import ConnectionConfig, LocalConfig, client_arguments
from serving.client import BadImage, Caption, CaptionClient, Outcome, ServerUnavailable
from serving.client.fleet import Fleet
from serving.client.heatmap import draw_heatmap
from serving.client.images import ImageSource, find_images, read_image

if TYPE_CHECKING:  # imports TensorFlow
    from serving.cli.local import LocalCaptioner

STDIN = "-"
"""The argument that stands for one image on standard input."""

MANY = 20
"""The least number of images for which a progress bar is shown, and a server is waited for."""


@dataclass(frozen=True)
class CaptionConfig(Section):
    """How the images are sent, and where the model looked."""

    concurrency: int = setting(2, "Images under way at a time.", minimum=1, maximum=256)
    wait: float = setting(
        300.0,
        f"With {MANY} images or more: seconds to wait for a server that has answered and then went "
        "away; 0 never waits.",
        minimum=0.0,
    )
    heatmap: str = setting(
        "",
        "PNG file to draw: the photo once for each word of its caption, coloured where the model "
        "looked. For one image, and a model that attends.",
        path=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The console command; see `imgcap-caption --help`."""
    return command.main(COMMAND, argv)


def caption_files(
    connection: ConnectionConfig,
    config: CaptionConfig,
    output: FormatConfig,
    local: LocalConfig,
    arguments: Sequence[str],
) -> int:
    """Captions the images that the arguments name and prints each caption when it is there.

    Args:
        connection: which model to ask.
        config: how many images at a time, and whether to draw a heatmap.
        output: how to print, and which captions are unsure.
        local: whether to ask no server, and which run is loaded then.
        arguments: image files, folders and globs; "-" is one image on standard input.

    Returns:
        0 if every image has a caption, sure or not, else 1.

    Raises:
        ServingError: the server is away or refuses; a bad image alone does not stop the others.
    """
    names = list(find_images(arguments))
    if not names:
        wanted = f"no image in {', '.join(arguments)}" if arguments else "no image is given"
        raise ConfigError(f"{wanted}: name files, folders or globs (see {COMMAND.name} --help)")
    if config.heatmap:
        _check_heatmap(config.heatmap, len(names), connection, local)
    with open_output(output) as (write, kept):
        failures = _report_kept(output, names, kept)
        left = [name for name in names if write_name(name) not in kept]
        for name, outcome in _outcomes(connection, config, output, local, left):
            _raise_or_report(name, outcome)
            failures += outcome.error is not None
            _report_missing(name, outcome.caption)
            if config.heatmap and outcome.caption is not None:
                _write_heatmap(config.heatmap, outcome.source, outcome.caption)
            write(judge(name, outcome, output.min_confidence))
    return 1 if failures else 0


def _report_kept(output: FormatConfig, names: list[str], kept: Kept) -> int:
    """Prints a line if answers are there already, and counts those that are no captions."""
    written = [write_name(name) for name in names]
    there = [name for name in written if name in kept]
    if there:
        print(
            f"{COMMAND.name}: {write_line(output.jsonl_output)} has {len(there)} of {len(names)} "
            "answers already; remove it to ask for them again",
            file=sys.stderr,
        )
    return sum(name in kept.refused for name in there)


def _check_heatmap(
    path: str, images: int, connection: ConnectionConfig, local: LocalConfig
) -> None:
    """Refuses a heatmap of several images, or of a search that does not say where it looked."""
    if images > 1:
        raise ConfigError(f"--heatmap={path} is about one image: {images} are given")
    if connection.signature == GREEDY and not local.local:
        raise ConfigError(
            f"--heatmap={path} needs beam search, which says where it looked: leave out "
            f"--signature={GREEDY}"
        )


def _outcomes(
    connection: ConnectionConfig,
    config: CaptionConfig,
    output: FormatConfig,
    local: LocalConfig,
    names: list[str],
) -> Iterator[tuple[str, Outcome]]:
    images = (sys.stdin.buffer.read() if name == STDIN else name for name in names)
    if not names:
        return
    if local.local:
        captioner = _load_captioner(local.workdir, connection)
        with _progress(output, len(names)) as progress:
            yield from zip(names, captioner.caption_many(images, progress), strict=True)
        return
    wanted = {"signature": DECODE_DETAILS} if config.heatmap else {}
    client = CaptionClient(**client_arguments(connection) | wanted)
    wait = config.wait if len(names) >= MANY else 0.0
    with (
        Fleet([client], wait, _tell) as fleet,
        _progress(output, len(names)) as progress,
    ):
        outcomes = fleet.caption_many(images, config.concurrency, progress)
        yield from zip(names, outcomes, strict=True)


def _tell(line: str) -> None:
    """Says on standard error that the server is away, or back."""
    print(f"{COMMAND.name}: {line}", file=sys.stderr, flush=True)


def _load_captioner(workdir: str, connection: ConnectionConfig) -> "LocalCaptioner":
    """Loads a run into this process; only this needs TensorFlow."""
    try:
        quiet.import_tensorflow()
    except ImportError:
        raise ConfigError("--local needs TensorFlow: pip install 'imgcap-tf[train]'") from None
    from serving.cli.local import LocalCaptioner

    return LocalCaptioner(
        workdir, greedy=connection.signature == GREEDY, max_side=connection.max_side or None
    )


def _progress(
    output: FormatConfig, count: int
) -> contextlib.AbstractContextManager[Progress | None]:
    """A bar for many images, if it can't get between the captions."""
    elsewhere = not output.prints_lines or not sys.stdout.isatty()
    if count < MANY or not elsewhere or not sys.stderr.isatty():
        return contextlib.nullcontext()
    return Progress("captioning", count, "images")


def _write_heatmap(path: str, source: ImageSource, caption: Caption) -> None:
    if not caption.attention:
        raise ConfigError(
            f"--heatmap={path}: this model does not attend; train one with --decoder=attention or "
            "adaptive"
        )
    picture = io.BytesIO()
    try:
        draw_heatmap(load_rgb(read_image(source), in_part=True), caption).save(picture, "PNG")
    except ValueError as error:
        raise ConfigError(f"--heatmap={path} can't be drawn: {error}") from None
    try:
        write_bytes(Path(path), picture.getvalue())
    except OSError as error:
        raise ConfigError(f"--heatmap={path} can't be written ({error.strerror})") from None


def _raise_or_report(name: str, outcome: Outcome) -> None:
    """Prints a line for a bad image; any other error ends the command.

    The others would hit every further image too.
    """
    if outcome.error is None:
        return
    if isinstance(outcome.error, ServerUnavailable):
        raise ServerUnavailable(f"{outcome.error}, or ask none by --local")
    if not isinstance(outcome.error, BadImage):
        raise outcome.error
    print(f"{COMMAND.name}: {write_line(name)}: {outcome.error}", file=sys.stderr)


def _report_missing(name: str, caption: Caption | None) -> None:
    """Prints a line if a caption is of a part of the image."""
    if caption is not None and caption.missing:
        what = f"cut off, the lower {caption.missing:.0%} is missing"
        print(f"{COMMAND.name}: {write_line(name)}: {what}", file=sys.stderr)


COMMAND = command.Command(
    name="imgcap-caption",
    summary="Captions image files, folders, globs and standard input (-): a running model server "
    "does, or with --local this process. Prints a line for each image: its path, a tab, the "
    "caption, and after another tab the confidence, if the model has one. Exit status: 0 all have "
    "a caption, 1 some have none, 2 wrong usage, 3 the server is away, late or busy.",
    sections=(ConnectionConfig, CaptionConfig, FormatConfig, LocalConfig),
    run=caption_files,
    positional="IMAGE...",
)
