"""`imgcap-prepare`: a raw data set to TFRecord shards."""

from collections.abc import Sequence

from imgcap.cli import command
from imgcap.config import PrepareConfig
from imgcap.config.prepare import LOCAL
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import ConfigError
from imgcap.files.names import shell_flag
from imgcap.run.directory import load_run
from imgcap.run.pretrained import resolve_run


def run(config: PrepareConfig, arguments: list[str]) -> None:
    """Prepares the data set and prints what was written."""
    if arguments and config.runner == LOCAL:
        raise ConfigError(
            f"unexpected argument {arguments[0]!r}: options after -- are those of a runner of "
            "Apache Beam, which --runner names"
        )
    from imgcap.data.prepare import describe, prepare

    base = _load_words(config.vocabulary) if config.vocabulary else None
    prepared = prepare(config, base, arguments)
    print(describe(prepared))
    if prepared.min_count and not config.min_count:
        print(
            f"--min_count={prepared.min_count} was chosen by the words of "
            f"{prepared.captions['train']} training captions"
        )
    if not prepared.images["dev"]:
        print(
            "split dev is empty, and imgcap-train chooses the best checkpoint by it: prepare into "
            "another folder with --train_list and --dev_list"
        )
    print(
        f"wrote {config.output_dir}; next: imgcap-train "
        f"{shell_flag('data_dir', config.output_dir)} --workdir=RUN"
    )


def _load_words(run: str) -> Vocabulary:
    """The vocabulary of a run, given by its directory or its name."""
    return load_run(resolve_run(run), "give --vocabulary a directory that imgcap-train wrote")[1]


COMMAND = command.Command(
    name="imgcap-prepare",
    summary="Turns a raw data set (images, captions, split lists) into TFRecord shards, a "
    "vocabulary and a manifest. Run again after an interruption, it keeps the finished shards and "
    "makes the rest.",
    sections=(PrepareConfig,),
    run=run,
    positional=command.RUNNER_OPTIONS,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
