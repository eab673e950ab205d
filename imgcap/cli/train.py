"""`imgcap-train`: shards to a run directory."""

from collections.abc import Sequence

from imgcap.cli import command
from imgcap.config import Config, DecodeConfig, ModelConfig, TrainConfig


def run(model: ModelConfig, train: TrainConfig, decode: DecodeConfig, arguments: list[str]) -> None:
    """Trains, or goes on where an earlier call stopped."""
    del arguments
    from imgcap import train as training

    training.train(Config(model, train, decode))


COMMAND = command.Command(
    name="imgcap-train",
    summary="Trains a captioner on the shards of imgcap-prepare. The same command goes on where an earlier one stopped.",
    sections=(ModelConfig, TrainConfig, DecodeConfig),
    run=run,
    tensorflow=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
