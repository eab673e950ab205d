"""`metrics.jsonl` after a kill and after damage: a resumed run drops what it cannot read."""

import json
from pathlib import Path

import pytest

from imgcap.run.metrics import METRICS, Metrics, read_line
from imgcap.training.watching.curves import make_table, read_metrics, summarise


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 3, "lo',
        "[3]",
        "7",
        '{"step": "3", "loss": 1.0}',
        '{"step": null}',
        '{"epoch": 1}',
        '{"step": 3, "loss": [1.0]}',
        "",
    ],
)
def test_damaged_lines(line: str) -> None:
    assert read_line(line) is None


def test_a_resumed_run_drops_damaged_lines(tmp_path: Path) -> None:
    path, metrics = tmp_path / METRICS, Metrics(tmp_path, 0)
    for step in range(1, 5):
        metrics.write(step=step, epoch=1, loss=1.0 / step)
    first, second, *_ = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b'{"step": "2", \xff\xfe}\n' + second + b'{"step": 2, "ep')
    Metrics(tmp_path, 2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_curves_leave_damaged_lines_out(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    whole = '{"step": 1, "epoch": 1, "loss": 2.0}\n{"step": 1, "epoch": 1, "dev_cider": 5.0, '
    path.write_bytes(
        whole.encode() + b'"dev_bleu_4": 1.0}\n{"step": 1, "dev_cider": 9.0}\n{"step"\xff: 2}\n'
        b'{"step": 2, "epoch": 2, "loss": "2.0"}\n'
    )
    metrics = read_metrics(path)
    (epoch,) = summarise(metrics)
    assert (epoch.number, epoch.loss, epoch.cider) == (1, 2.0, 5.0)
    assert "best" in make_table(metrics)
