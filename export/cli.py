"""`imgcap-export`: writes a run as a version of a served model."""

from collections.abc import Sequence
from typing import Any

from export.config import ExportConfig
from imgcap.cli import command
from imgcap.config import DecodeConfig
from imgcap.files.names import shell_flag


def run(config: ExportConfig, decode: dict[str, Any], arguments: list[str]) -> None:
    """Exports the run; prints what the encoder became and where the version lies."""
    del arguments
    from export.card import read_manifest
    from export.saved_model import export_run

    version = export_run(config, decode)
    print(f"encoder: {read_manifest(version)['encoder_description']}")
    served = shell_flag("model_base_path", config.output_dir)
    print(f"wrote {version}; next: imgcap-serve {served}")


COMMAND = command.Command(
    name="imgcap-export",
    summary="Writes the run's best checkpoint as the next version of a SavedModel that TensorFlow "
    "Serving can serve: image bytes in, captions out. It is checked in a fresh process before it "
    "gets its number.",
    sections=(ExportConfig,),
    run=run,
    tensorflow=True,
    overrides=DecodeConfig,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
