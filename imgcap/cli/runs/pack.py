"""`imgcap-pack`: a run with only what is needed to caption, evaluate, export and tune it."""

from collections.abc import Sequence
from pathlib import Path

from imgcap.cli import command
from imgcap.config import PackConfig
from imgcap.errors import ConfigError
from imgcap.files.names import shell_flag
from imgcap.run.pretrained import refuse_pretrained, resolve_run

MEGABYTE = 10**6


def run(config: PackConfig, arguments: list[str]) -> None:
    """Packs the run, prints its size and, on request, how many captions are others than before."""
    if len(arguments) != 1:
        raise ConfigError("name one run directory: imgcap-pack RUN --output_dir=NEW")
    refuse_pretrained(config.output_dir, "--output_dir")
    from imgcap.evaluation.split import caption_split
    from imgcap.run.pack import Change, describe_change, pack, write_card

    source, output = resolve_run(arguments[0]), Path(config.output_dir)
    data_dir = config.check_data_dir
    before = caption_split(source, data_dir, config.split) if config.check_data_dir else {}
    size = pack(source, config)
    if config.check_data_dir:
        after = caption_split(output, data_dir, config.split)
        changed = sum(caption != after[image] for image, caption in before.items())
        change = Change(changed, len(before), config.split)
        write_card(output, config.license, change)
        print(describe_change(change, config.weights))
    print(
        f"wrote {output}, {size / MEGABYTE:.1f} MB; next: imgcap-caption IMAGE --local "
        f"{shell_flag('workdir', output)}"
    )


COMMAND = command.Command(
    name="imgcap-pack",
    summary="Packs a run to hand on: a run directory with its best weights, each once and without "
    "the optimizer's state, vocabulary, settings, scores and a card. It can be captioned with, "
    "evaluated, exported and tuned as any other.",
    sections=(PackConfig,),
    run=run,
    positional="RUN",
    tensorflow=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
