"""The plan's arithmetic by hand, its document against its arithmetic, and its measurement at a toy
size.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from imgcap.cli import command
from tests.bench.__main__ import COMMAND
from tests.bench.scale import tables
from tests.bench.scale.__main__ import read_figures
from tests.bench.scale.assumptions import REASONS, Assumptions, Size
from tests.bench.scale.figures import (
    FEW_WORDS,
    NAMES,
    Figures,
    from_rows,
    from_table,
    to_rows,
    to_table,
)
from tests.bench.scale.plan import (
    captioning,
    exchange,
    gradient,
    least_step,
    preparing,
    step_ms,
    storage,
    storing_features,
    training,
)
from tests.bench.table import Row, write_table

# Figures and assumptions of which all that follows can be worked in the head.
FIGURES = Figures(
    image_bytes=50_000,
    record_bytes=51_000,
    captions=5,
    prepare_ms=4,
    decode_ms=2,
    encode_ms=80,
    grid_bytes=200_000,
    pooled_bytes=4_000,
    gradient_bytes=20e6,
    word_gradient_bytes=4_000,
    block_gradient_bytes=1e6,
    step_ms=20,
    large_step_ms=40,
    search_ms=18,
)
GIVEN = Assumptions()
MILLION = Size(1_000_000, 10_000)


def test_the_document_is_what_the_arithmetic_gives() -> None:
    """`python -m tests.bench.scale` writes it anew."""
    text = tables.DOCUMENT.read_text(encoding="utf-8")
    assert tables.fill(text, tables.load_figures(), GIVEN) == text


def test_storage_by_hand() -> None:
    # 51 GB of records in shards of 200 MB; 2 views of 200 KB and of 4 KB; 2 cents for each of
    # 51 + 400 GB.
    found = storage(FIGURES, GIVEN, MILLION)
    assert found.images == 50e9 and found.records == 51e9
    assert found.shards == 255 and found.shard == 200e6
    assert found.pooled == 8e9 and found.grid == 400e9
    assert found.month == pytest.approx(9.02)
    # More shards than images can be counted into: each becomes larger.
    huge = storage(FIGURES, GIVEN, Size(1_000_000_000, 30_000))
    assert huge.shards == 65_536 and huge.shard == pytest.approx(778e6, rel=1e-3)


def test_preparing_by_hand() -> None:
    # A million images of 4 ms: 4,000 s of a core, 500 s of eight, and 50 s to read 50 GB.
    one = preparing(FIGURES, GIVEN, MILLION)
    assert one.core_seconds == 4000 and one.reading == 50
    assert (one.alone, one.workers, one.seconds) == (510, 1, 510)
    assert one.price == pytest.approx(4000 / 3600 * 0.04 + 0.4)
    # A hundred times that is 13.9 hours of one machine; by Beam, at twice the work, 27.8 in four.
    many = preparing(FIGURES, GIVEN, Size(100_000_000, 30_000))
    assert many.core_seconds == 800_000 and many.workers == 4
    assert many.seconds == 10 + 800_000 / 8 / 4
    assert many.price == pytest.approx(800_000 / 3600 * 0.04 + 40)


def test_captioning_by_hand() -> None:
    # 2 + 80 + 18 ms: ten images a second and core.
    assert tables.caption_speed(FIGURES) == 10
    found = captioning(FIGURES, GIVEN, MILLION)
    assert found.core_seconds == 100_000 and found.alone == 10 + 100_000 / 8
    assert found.price == pytest.approx(100_000 / 3600 * 0.04 + 0.4)


def test_features_by_hand() -> None:
    # Two views of 80 ms, decoded once in 2 ms; 400 GB to write; a GPU is 200 cores.
    found = storing_features(FIGURES, GIVEN, MILLION)
    assert found.core_seconds == 162_000 and found.machine == 20_250
    assert found.writing == 400
    assert found.gpu == 160_000 / 200


def test_gradients_by_hand() -> None:
    assert gradient(FIGURES, 2543) == 20e6
    assert gradient(FIGURES, 12_543) == 60e6
    assert step_ms(FIGURES, 2543) == 20 and step_ms(FIGURES, 30_000) == pytest.approx(40)


def ring(values: list[list[float]]) -> tuple[list[list[float]], list[int]]:
    """Adds up vectors by a ring of so many members as they have elements, step by step.

    Args:
        values: the vector of each member.

    Returns:
        The vectors afterwards, and how many elements each member sent.
    """
    count = len(values)
    held, sent = [list(one) for one in values], [0] * count
    for turn in range(2 * (count - 1)):
        adding = turn < count - 1
        moved = []
        for member in range(count):
            place = (member - turn + (0 if adding else count)) % count
            place = place if adding else (member + 1 - (turn - count + 1)) % count
            moved.append((member, place, held[member][place]))
            sent[member] += 1
        for member, place, value in moved:
            other = (member + 1) % count
            held[other][place] = held[other][place] + value if adding else value
    return held, sent


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_what_a_gpu_sends_is_what_a_ring_sends(gpus: int) -> None:
    values = [[float(10**member + place) for place in range(gpus)] for member in range(gpus)]
    held, sent = ring(values)
    assert held == [[sum(column) for column in zip(*values, strict=True)]] * gpus
    element = 1000.0
    assert exchange(gpus * element, GIVEN, gpus).sent == sent[0] * element
    assert len(set(sent)) == 1


def test_exchange_by_hand() -> None:
    assert exchange(80e6, GIVEN, 1).seconds() == 0
    # Eight GPUs: each sends 140 MB at 200 GB/s.
    eight = exchange(80e6, GIVEN, 8)
    assert eight.sent == 140e6 and eight.seconds() == pytest.approx(0.0007)
    # Eight machines of them: 0.7 ms inside, then 140 MB over 12.5 GB/s, 11.2 ms, or four times
    # that.
    many = exchange(80e6, GIVEN, 64)
    assert many.seconds() == pytest.approx(0.0119)
    assert many.slow == pytest.approx(0.0007 + 0.0448)
    assert least_step(80e6, GIVEN, 64) == pytest.approx((0.119, 0.455))


def test_an_epoch_by_hand() -> None:
    # 64 captions of 20 ms on a GPU of 200 cores: 6.4 ms. Five million captions: 78,125 steps.
    size = Size(1_000_000, 2543)
    one = training(FIGURES, GIVEN, size, 1, FIGURES.pooled_bytes)
    assert one.steps == 78_125 and one.compute == pytest.approx(0.0064) and one.exchange == 0
    # 12.8 images of two views of 4 KB at 1 GB/s.
    assert one.reading == pytest.approx(0.0001024)
    assert one.epoch == pytest.approx(510) and one.binds() == "compute"
    assert one.price == pytest.approx(510 / 3600 * 3)
    # With all positions each of 64 GPUs' machines reads 819 images of two views of 200 KB: 0.33 s,
    # which no further GPU makes shorter: a million images are read in 400 s.
    many = training(FIGURES, GIVEN, size, 64, FIGURES.grid_bytes)
    assert many.reading == pytest.approx(0.32768) and many.binds() == "reading"
    assert many.epoch == pytest.approx(410)


def test_numbers_with_units() -> None:
    assert [tables.write_bytes(value) for value in (150, 2600, 188160, 5.3e7, 2.41e12)] == [
        "150 B",
        "2.6 KB",
        "188 KB",
        "53 MB",
        "2.41 TB",
    ]
    times = (0, 0.00042, 1.5, 90, 7200, 100_000, 864_000)
    assert [tables.write_time(value) for value in times] == [
        "0",
        "0.42 ms",
        "1.5 s",
        "1.5 min",
        "2 h",
        "27.8 h",
        "10 days",
    ]
    assert [tables.write_price(value) for value in (0, 1.234, 12345)] == [
        "< $0.01",
        "$1.23",
        "$12,345",
    ]


def test_figures_survive_table_and_file(tmp_path: Path) -> None:
    assert from_table(to_table(FIGURES)) == FIGURES
    assert from_rows(to_rows(FIGURES)) == FIGURES
    write_table(tmp_path / "bench.json", "scale", to_rows(FIGURES))
    assert read_figures(tmp_path / "bench.json") == FIGURES
    assert set(NAMES) == set(Figures._fields) and set(REASONS) == set(Assumptions._fields)


def test_marks() -> None:
    text = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n"
    assert tables.between(text, "x") == "old\n"
    assert tables.replace(text, "x", "new") == text.replace("old", "new")
    with pytest.raises(ValueError, match="no marks of 'y'"):
        tables.between(text, "y")


def test_measured_at_a_toy_size(
    encoder_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.bench.scale import suite

    step_ms_of = suite._step_ms
    # Once each, since graphs take their time to trace.
    monkeypatch.setattr(suite, "cpu_ms", _call_once)
    monkeypatch.setattr(suite, "DECODED", 20)
    monkeypatch.setattr(suite, "STEPS", 1)
    monkeypatch.setattr(suite, "_search_ms", lambda *given: 1.0)
    monkeypatch.setattr(
        suite,
        "_step_ms",
        lambda work, words: step_ms_of(work, words) if len(words) == FEW_WORDS else 1.0,
    )
    output = tmp_path / "bench.json"
    flags = ["--images=20", "--units=8", "--batch_size=8", "--image_size=32"]
    flags += [f"--encoder={encoder_file}", f"--output={output}"]
    assert command.main(COMMAND, ["bench", "--part=scale", *flags]) == 0
    rows = [Row(**{key: row[key] for key in Row._fields}) for row in _rows(output)]
    found = from_rows(rows)
    assert all(value > 0 for value in found)
    assert found.captions == 5
    # The record holds the file as it is.
    assert found.image_bytes < found.record_bytes < found.image_bytes + 2000
    # A word has a row in the embedding and a column with its bias in the output, float32.
    assert found.word_gradient_bytes == 4 * (8 + 8 + 1)
    assert found.grid_bytes % found.pooled_bytes == 0


def test_cpu_time_is_counted_for_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.bench.scale import suite

    times, calls = iter([2.0, 2.5]), list[int]()
    monkeypatch.setattr("time.process_time", lambda: next(times))
    # The first call, which traces, does not count.
    assert suite.cpu_ms(lambda: calls.append(1), 100) == 5 and len(calls) == 2


def _call_once(call: Callable[[], object], pieces: int) -> float:
    call()
    return 1.0 / pieces


def _rows(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["scale"]["rows"]
