"""Who may import whom: downwards only, and no TensorFlow on the client's road."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each layer may import those below it (further down in this list), never one above.
LAYERS = [
    {"app"},
    {"imgcap.cli.average", "imgcap.cli.bench", "imgcap.cli.compare", "imgcap.cli.data_service", "imgcap.cli.demo",
     "imgcap.cli.evaluate", "imgcap.cli.prepare", "imgcap.cli.train", "export.cli", "serving.serve_cli",
     "serving.caption_cli", "serving.measurement"},
    {"serving.benchmark", "export.benchmark", "export.agreement"},
    {"export.saved_model", "export.measurement", "serving.local_server", "serving.client", "serving.async_client"},
    {"serving.rest", "serving.services", "serving.predictor"},
    {"serving.models", "serving.versions", "serving.batching", "serving.connection_config"},
    {"export.parity", "export.warmup", "export.notebook", "export.module", "export.card", "export.optimize",
     "export.densenet", "serving.servable", "serving.settings", "serving.connection", "serving.load", "serving.heatmap"},
    {"export.versions", "serving.answers", "serving.http_front", "serving.health", "serving.gate"},
    {"serving.wire", "serving.images", "serving.client_errors", "serving.metrics", "serving.logs",
     "serving.batching_options", "serving.request_error"},
    {"imgcap.benchmarks.suite"},
    {"imgcap.benchmarks.reading", "imgcap.benchmarks.stored", "imgcap.benchmarks.tuning", "imgcap.benchmarks.memory"},
    {"imgcap.benchmarks.workload"},
    {"imgcap.benchmarks.drawing", "imgcap.benchmarks.notebook", "imgcap.benchmarks.turns", "imgcap.benchmarks.bare",
     "imgcap.benchmarks.timer"},
    {"imgcap.sweep"},
    {"imgcap.cli.command", "imgcap.average", "imgcap.train", "imgcap.prepare"},
    {"imgcap.run"},
    {"imgcap.evaluate"},
    {"imgcap.plan", "imgcap.training_log"},
    {"imgcap.train_step", "imgcap.training_data", "imgcap.profiling"},
    {"imgcap.tensorboard"},
    {"imgcap.objective"},
    {"imgcap.scst"},
    {"imgcap.data_service", "imgcap.features", "imgcap.captioner", "imgcap.shard_writer", "imgcap.shard_task"},
    {"imgcap.pipeline", "imgcap.checkpoint", "imgcap.optimizer", "imgcap.runtime", "imgcap.encoder", "imgcap.decoders",
     "imgcap.workers"},
    {"imgcap.reward", "imgcap.recompute", "imgcap.records", "imgcap.image", "imgcap.search", "imgcap.losses",
     "imgcap.manifest"},
    {"imgcap.training_summary", "imgcap.score_table"},
    {"imgcap.image_header", "imgcap.contact_sheet", "imgcap.scores", "imgcap.datasets"},
    {"imgcap.vocabulary", "imgcap.progress", "imgcap.quiet", "imgcap.interruption", "imgcap.measurement_table"},
    {"imgcap.files", "imgcap.config", "imgcap.chart", "imgcap.cluster"},
    {"imgcap.signature", "imgcap.errors", "imgcap.cpu"},
]  # fmt: skip


def modules() -> dict[str, Path]:
    found = {"app": ROOT / "app.py"}
    for package in ("imgcap", "export", "serving"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer_of(name: str) -> int | None:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        for number, layer in enumerate(LAYERS):
            if ".".join(parts[:end]) in layer:
                return number
    return None


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_go_downwards(name: str) -> None:
    own = layer_of(name)
    if own is None:
        # Packages' own files and leaf scripts import nothing of the project.
        assert not [used for used in imports(modules()[name]) if used.split(".")[0] in ("imgcap", "export", "serving")]
        return
    for used in imports(modules()[name]):
        below = layer_of(used)
        if below is not None and used.split(".")[:2] != name.split(".")[:2]:
            assert below >= own, f"{name} imports {used}, which is above it"


@pytest.mark.parametrize(("package", "stranger"), [("imgcap", "export"), ("imgcap", "serving"), ("export", "serving"),
                                                   ("serving", "export")])  # fmt: skip
def test_packages_keep_apart(package: str, stranger: str) -> None:
    for name, path in modules().items():
        if name.split(".")[0] == package:
            assert not [used for used in imports(path) if used.split(".")[0] == stranger], name


def test_flags_are_read_in_one_place() -> None:
    readers = [name for name, path in modules().items() if any(used.startswith("absl") for used in imports(path))]
    assert readers == ["imgcap.cli.command"]


@pytest.mark.parametrize("module", ["imgcap", "imgcap.signature", "imgcap.config", "imgcap.cli.command", "imgcap.cli.train",
                                    "imgcap.prepare", "imgcap.scores", "serving.client", "serving.async_client",
                                    "serving.caption_cli", "serving.benchmark"])  # fmt: skip
def test_no_tensorflow_where_none_is_needed(module: str) -> None:
    script = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("name", sorted(modules()))
def test_functions_are_read_in_one_sitting(name: str) -> None:
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is {node.end_lineno - node.lineno + 1} lines long"


@pytest.mark.parametrize("name", sorted(modules()))
def test_public_things_are_described(name: str) -> None:
    if name.endswith("_pb2"):
        pytest.skip("made by protoc")
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    named = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for node in named:
        if not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
