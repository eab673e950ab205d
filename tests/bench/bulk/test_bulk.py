"""The measures of bulk work that need no model."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.bench.bulk.processes import answered, resident_bytes


def test_memory_is_that_of_a_process_and_its_children() -> None:
    held = 64 * 2**20
    child = f"x = b'1' * {held}; print(flush=True); input()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        alone = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        both = resident_bytes(process.pid)
        process.stdin.close()
    assert both - alone * os.sysconf("SC_PAGE_SIZE") > held
    assert resident_bytes(process.pid) == 0


def test_answers_are_read_in_their_order(tmp_path: Path) -> None:
    names = ["b.jpg", "ä.jpg", "b.jpg"]
    lines = [json.dumps({"image": name, "caption": "a dog"}) for name in names]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines) + "\n")
    assert answered(tmp_path / "answers.jsonl") == names
