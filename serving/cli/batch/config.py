"""The flags of imgcap-caption-batch."""

from dataclasses import dataclass

from imgcap.config import Section, setting
from imgcap.errors import ConfigError
from imgcap.host.beam import DIRECT_RUNNER
from imgcap.signature import MODEL_NAME
from serving.cli.connection import ConnectionConfig, check_server


@dataclass(frozen=True)
class InputConfig(Section):
    """Which images to caption, and where the answers go."""

    input: str = setting(
        "",
        "Images: a folder, a glob (quoted), a table (.csv, .tsv, .jsonl, .parquet), a list of "
        "paths (.txt), or the manifest.json of prepared data; each may be an address such as "
        "gs://bucket/photos.",
        required=True,
        path=True,
        common=True,
    )
    output: str = setting(
        "",
        "File for the captions, one JSON object a line, in the order of the images; for "
        "captions.jsonl, images without a caption go to captions.unreadable.jsonl.",
        required=True,
        path=True,
        common=True,
    )
    image_column: str = setting(
        "", "Column of a table, or key of its objects, with the image; empty finds it."
    )
    image_root: str = setting(
        "", "Folder that paths in a table or list begin at; empty is the table's own.", path=True
    )
    split: str = setting("", "Split of prepared data, such as test or dev+test; empty takes all.")
    images_per_shard: int = setting(
        256,
        "Images whose answers are stored together; a job that is started again keeps whole shards. "
        "Prepared data have shards of their own.",
        minimum=1,
    )


@dataclass(frozen=True)
class ModelConfig(ConnectionConfig):
    """Which model captions them: an export in the workers, or a fleet of servers."""

    model: str = setting(
        "",
        "Folder that imgcap-export wrote, or one version in it. Without it and without --server, "
        "the captioner in the box, which the first use exports.",
        path=True,
        common=True,
    )
    server: str = setting(
        "",
        "host:port of a model server, several joined by commas; they are asked in turn.",
        common=True,
    )
    model_name: str = setting(MODEL_NAME, "Name of the model on the servers.", required=True)

    def validate_combinations(self) -> None:
        """Checks the addresses, and that one kind of model is meant."""
        if self.model and self.server:
            raise ConfigError(f"--model={self.model} and --server are both given: choose one")
        for address in self.servers:
            check_server(address)

    @property
    def servers(self) -> list[str]:
        """The addresses of the servers; empty for an export."""
        return [part.strip() for part in self.server.split(",") if part.strip()]


@dataclass(frozen=True)
class WorkConfig(Section):
    """Who does the work, and how much of it at a time."""

    runner: str = setting(
        DIRECT_RUNNER,
        "Runner of Apache Beam: DirectRunner in this process, FlinkRunner, SparkRunner, "
        "DataflowRunner; its own options stand after --.",
        required=True,
    )
    concurrency: int = setting(
        0,
        "In each worker: requests to servers, or batches of 16 in an export, under way at a time; "
        "0 takes 16 requests or 2 batches.",
        minimum=0,
        maximum=256,
    )
    wait: float = setting(
        300.0, "Seconds to wait for servers that are away before the job stops.", minimum=0.0
    )
    min_confidence: float = setting(
        0.0,
        "A caption whose confidence is below this is marked unsure; 0 takes all.",
        minimum=0.0,
        maximum=1.0,
    )
