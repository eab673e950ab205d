"""`imgcap-prepare`: a raw data set to TFRecord shards."""

from collections.abc import Sequence

from imgcap.cli import command
from imgcap.config import PrepareConfig


def run(config: PrepareConfig, arguments: list[str]) -> None:
    """Prepares the data set, or one part of it, and prints what was written."""
    del arguments
    from imgcap.data.prepare import describe, prepare, prepare_part

    if config.shard_count > 1 and not config.merge:
        print(prepare_part(config))
        return
    print(describe(prepare(config)))
    print(
        f"wrote {config.output_dir}; next: imgcap-train --data_dir={config.output_dir} "
        "--workdir=RUN"
    )


COMMAND = command.Command(
    name="imgcap-prepare",
    summary="Turns a raw data set (images, captions, split lists) into TFRecord shards, a "
    "vocabulary and a manifest. Run again after an interruption, it keeps the finished shards and "
    "makes the rest.",
    sections=(PrepareConfig,),
    run=run,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
