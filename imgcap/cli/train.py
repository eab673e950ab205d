"""`imgcap-train`: shards to a run directory."""

from collections.abc import Sequence

from imgcap.cli import command
from imgcap.config import Config, DecodeConfig, ModelConfig, ShowConfig, TrainConfig


def run(model: ModelConfig, train: TrainConfig, decode: DecodeConfig, show: ShowConfig, arguments: list[str]) -> None:
    """Trains, or goes on where an earlier call stopped; or only says what it would do."""
    del arguments
    from imgcap import train as training

    if show.dry_run:
        print(training.plan(Config(model, train, decode)))
        return
    training.train(Config(model, train, decode), show)
    print(
        f"wrote {train.workdir}; next: imgcap-evaluate --workdir={train.workdir} --data_dir={train.data_dir} --split=test"
    )


COMMAND = command.Command(
    name="imgcap-train",
    summary="Trains a captioner on the shards of imgcap-prepare. The same command goes on where an earlier one stopped.",
    sections=(ModelConfig, TrainConfig, DecodeConfig, ShowConfig),
    run=run,
    tensorflow=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
