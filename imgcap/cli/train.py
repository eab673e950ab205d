"""`imgcap-train`: shards to a run directory."""

from collections.abc import Sequence

from imgcap.cli import command
from imgcap.config import Config, DecodeConfig, ModelConfig, ShowConfig, TrainConfig
from imgcap.run.pretrained import refuse_pretrained

JOINING = ("auto", "multi_worker")
"""Values of --strategy that read TF_CONFIG."""


def run(
    model: ModelConfig,
    train: TrainConfig,
    decode: DecodeConfig,
    show: ShowConfig,
    arguments: list[str],
) -> None:
    """Trains, or goes on where an earlier call stopped; or only says what it would do."""
    del arguments
    refuse_pretrained(train.workdir, "--workdir")
    decode = DecodeConfig().override(decode.changes_from(DecodeConfig()))
    if _takes_no_part(train.strategy):
        return
    if show.dry_run:
        from imgcap.training import trainer

        print(trainer.plan(Config(model, train, decode)))
        return
    from imgcap.training import loop

    loop.train(Config(model, train, decode), show)


def _takes_no_part(strategy: str) -> bool:
    """Says so if the scheduler made this process an evaluator or a parameter server.

    The status is then 0: a scheduler that waits for all tasks must not take it for a failure.
    """
    from imgcap.training.machines.cluster import find_idle_task

    idle = find_idle_task() if strategy in JOINING else None
    if idle:
        print(
            f"nothing to do: TF_CONFIG makes this the task {idle}, and chief and workers do all of "
            "the training and its dev scores"
        )
    return idle is not None


COMMAND = command.Command(
    name="imgcap-train",
    summary="Trains a captioner on the shards of imgcap-prepare. The same command goes on where an "
    "earlier one stopped.",
    sections=(ModelConfig, TrainConfig, DecodeConfig, ShowConfig),
    run=run,
    tensorflow=True,
    recipes=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
