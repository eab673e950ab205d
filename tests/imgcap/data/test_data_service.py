"""Images decoded by services over loopback: the same batches in the same order, from any position;
clear refusals.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from imgcap.cli.train import main as train_main
from imgcap.config import DataServiceConfig
from imgcap.data import batches, data_service, manifest
from imgcap.data.batches import DecodedImages, Position, Rows, training_batches
from imgcap.errors import ConfigError
from tests.support.cluster_of_processes import free_ports


@pytest.fixture(scope="module")
def services() -> Iterator[list[str]]:
    """Two services in this process."""
    with ExitStack() as stack:
        configs = [
            DataServiceConfig(port=port, worker_port=0, host="localhost") for port in free_ports(2)
        ]
        yield [stack.enter_context(data_service.running(config)) for config in configs]


@pytest.fixture(scope="module")
def paths(data_dir: Path) -> list[Path]:
    return manifest.shard_paths(data_dir, manifest.load_manifest(data_dir), "train")


def images(
    paths: list[Path],
    services: Sequence[str] = (),
    start: int = 0,
    rows: Rows = batches.ONE_REPLICA,
) -> list[batches.Batch]:
    examples = DecodedImages(5, 32, augment=True, services=services)
    dataset = training_batches(paths, examples, Position(seed=3, epoch=1, start=start), rows)
    return [batches.Batch(*(part.numpy() for part in batch)) for batch in dataset]


POSITIONS = [{}, {"start": 3}, {"rows": Rows(0, 2, 2)}, {"rows": Rows(1, 1, 2), "start": 2}]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("position", POSITIONS, ids=str)
def test_the_same_batches(
    services: list[str], paths: list[Path], count: int, position: dict
) -> None:
    here, there = images(paths, **position), images(paths, **position, services=services[:count])
    assert len(here) == len(there) > 3
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a.inputs, b.inputs)
        np.testing.assert_array_equal(a.tokens, b.tokens)


def train(workdir: Path, flags: list[str], *more: str) -> int:
    return train_main(["imgcap-train", f"--workdir={workdir}", *flags, "--nocache_features", *more])


def losses(workdir: Path) -> list[float]:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_a_run_by_the_command(train_flags: list[str], tmp_path: Path) -> None:
    port, worker_port = free_ports(2)
    script = "import sys; from imgcap.cli.data_service import main; sys.exit(main())"
    flags = [f"--port={port}", f"--worker_port={worker_port}", "--host=localhost"]
    with subprocess.Popen(
        [sys.executable, "-c", script, *flags], stdout=subprocess.PIPE, text=True
    ) as service:
        try:
            line = service.stdout.readline()
            assert (
                line
                == f"decoding for imgcap-train --data_service=grpc://localhost:{port}; Ctrl-C ends "
                "it\n"
            )
            more = ["--deterministic", "--max_steps=6"]
            address = f"--data_service=grpc://localhost:{port}"
            assert train(tmp_path / "there", train_flags, *more, address) == 0
        finally:
            os.kill(service.pid, signal.SIGTERM)
        assert service.wait(60) == 0
    assert train(tmp_path / "here", train_flags, *more) == 0
    assert losses(tmp_path / "there") == losses(tmp_path / "here")


def test_a_service_of_two_workers_is_refused(
    train_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = tf.data.experimental.service
    (port,) = free_ports(1)
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=port, protocol="grpc"))
    workers = [
        service.WorkerServer(service.WorkerConfig(dispatcher_address=f"localhost:{port}"))
        for _ in range(2)
    ]
    assert (
        train(
            tmp_path / "run", train_flags, f"--data_service=grpc://localhost:{port}", "--epochs=9"
        )
        == 1
    )
    assert batches.OUT_OF_ORDER in capsys.readouterr().err.splitlines()[-1]
    del workers, dispatcher


def test_data_that_the_service_can_not_see(services: list[str], tmp_path: Path) -> None:
    with pytest.raises(tf.errors.NotFoundError) as error:
        images([tmp_path / "train-00000-of-00001.tfrecord"], services=services)
    said = str(data_service.as_data_error(error.value, services[0], "data"))
    assert (
        "a service can't find the shards of --data_dir=data: give it the data under the same path"
        in said
    )
    assert data_service.as_data_error(error.value, "", "data") is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data_service=localhost:5050"], "'localhost:5050' is not of the form grpc://HOST:PORT"),
        (["--data_service=grpc://a:1,grpc://b"], "'grpc://b' is not of the form grpc://HOST:PORT"),
        (
            ["--data_service=grpc://a:1", "--cache_features"],
            "stored features need none: drop it or --cache_features",
        ),
        (
            ["--data_service=grpc://a:1", "--skip_bad_records"],
            "--skip_bad_records can't count what --data_service",
        ),
        (
            ["--data_service=grpc://localhost:1"],
            "--data_service=grpc://localhost:1 does not answer (",
        ),
    ],
)
def test_refusals(
    train_flags: list[str],
    tmp_path: Path,
    flags: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(tmp_path / "run", train_flags, *flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_port_that_is_taken(services: list[str]) -> None:
    port = int(services[0].rpartition(":")[2])
    with (
        pytest.raises(ConfigError, match=f"--port={port} can't be opened"),
        data_service.running(DataServiceConfig(port=port, host="localhost")),
    ):
        pass
