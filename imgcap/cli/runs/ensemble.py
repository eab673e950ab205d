"""`imgcap-ensemble`: one captioner in which those of several runs choose each word together."""

from collections.abc import Sequence

from imgcap.cli import command
from imgcap.config import EnsembleConfig
from imgcap.errors import ConfigError
from imgcap.files.names import shell_flag
from imgcap.run.pretrained import refuse_pretrained


def run(config: EnsembleConfig, arguments: list[str]) -> None:
    """Makes the ensemble and prints what was written."""
    if len(arguments) < 2:
        raise ConfigError("name at least two run directories: imgcap-ensemble RUN RUN ...")
    refuse_pretrained(config.workdir, "--workdir")
    from imgcap.run.ensemble import make_ensemble

    made_of = make_ensemble(arguments, config)
    print(
        f"wrote {config.workdir}, {made_of.describe()}; next: imgcap-evaluate "
        f"{shell_flag('workdir', config.workdir)}"
    )


COMMAND = command.Command(
    name="imgcap-ensemble",
    summary="Makes one run of several that share an encoder: their decoders choose each word "
    "together, which as a rule captions better than each of them. The images are encoded once. It "
    "is calibrated, evaluated, packed and exported as any other run, and needs the others no more; "
    "it is not trained further.",
    sections=(EnsembleConfig,),
    run=run,
    positional="RUN RUN ...",
    tensorflow=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
