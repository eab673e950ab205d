"""`imgcap-data-service`: decodes training images on a machine of its own."""

from collections.abc import Sequence

from imgcap.cli import command
from imgcap.config import DataServiceConfig


def run(config: DataServiceConfig, arguments: list[str]) -> None:
    """Serves until it is stopped."""
    del arguments
    from imgcap.data import data_service

    data_service.serve(config)


COMMAND = command.Command(
    name="imgcap-data-service",
    summary="Decodes training images for imgcap-train --data_service on other machines: a tf.data "
    "dispatcher and its worker. It must see the shards under the path that training gives, and it "
    "runs what it is sent: keep it in a trusted network.",
    sections=(DataServiceConfig,),
    run=run,
    tensorflow=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
