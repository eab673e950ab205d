"""`imgcap-average`: one captioner whose weights are the mean of several."""

from collections.abc import Sequence
from pathlib import Path

from imgcap.cli import command
from imgcap.config import AverageConfig
from imgcap.errors import ConfigError
from imgcap.files.names import shell_flag
from imgcap.run.pretrained import refuse_pretrained, resolve_run


def run(config: AverageConfig, arguments: list[str]) -> None:
    """Averages the runs and prints what was written."""
    if not arguments:
        raise ConfigError("name run directories: imgcap-average RUN [RUN ...] --workdir=NEW")
    refuse_pretrained(config.workdir, "--workdir")
    from imgcap.run.average import average

    count = average(
        [resolve_run(name) for name in arguments], Path(config.workdir), config.checkpoints
    )
    print(
        f"wrote {config.workdir}, the mean of {count} checkpoints; next: imgcap-evaluate "
        f"{shell_flag('workdir', config.workdir)}"
    )


COMMAND = command.Command(
    name="imgcap-average",
    summary="Averages the weights of checkpoints of one run, or of runs that were tuned from one "
    "start, into a run directory to evaluate, tune and export as any other.",
    sections=(AverageConfig,),
    run=run,
    positional="RUN...",
    tensorflow=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
