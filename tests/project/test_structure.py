"""Who may import whom: downwards only, and no TensorFlow on the client's road."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# Each layer may import those below it (further down in this list), never one above.
LAYERS = [
    {"app"},
    {
        "imgcap.cli.average",
        "tests.bench.bench_training",
        "imgcap.cli.compare",
        "imgcap.cli.data_service",
        "imgcap.cli.demo",
        "imgcap.cli.evaluate",
        "imgcap.cli.prepare",
        "imgcap.cli.train",
        "export.cli",
        "serving.cli.serve",
        "serving.cli.caption",
        "tests.bench.serving",
    },
    {"serving.cli.benchmark", "tests.bench.export", "tests.bench.agreement"},
    {
        "export.saved_model",
        "tests.bench.export_rows",
        "serving.server.local_server",
        "serving.client",
        "serving.client.awaitable",
    },
    {
        "serving.server.fronts.rest",
        "serving.server.fronts.grpc_services",
        "serving.server.predictor",
    },
    {
        "serving.server.models.models",
        "serving.server.models.versions",
        "serving.server.queue.batching",
        "serving.cli.connection",
    },
    {
        "export.check.parity",
        "export.warmup",
        "tests.bench.notebook_decoding",
        "export.module",
        "export.card",
        "export.cpu.optimize",
        "export.cpu.densenet",
        "serving.server.models.servable",
        "serving.server.settings.settings",
        "serving.client.connection",
        "serving.cli.load",
        "serving.client.heatmap",
    },
    {
        "export.versions",
        "serving.client.answers",
        "serving.server.fronts.http",
        "serving.server.fronts.health",
        "serving.server.queue.gate",
    },
    {
        "serving.wire",
        "serving.client.images",
        "serving.client.errors",
        "serving.server.metrics",
        "serving.server.logs",
        "serving.server.queue.options",
        "serving.server.request_error",
    },
    {"tests.bench.suite"},
    {"tests.bench.reading", "tests.bench.stored", "tests.bench.tuning", "tests.bench.memory"},
    {"tests.bench.workload"},
    {
        "tests.bench.drawing",
        "tests.bench.notebook_training",
        "tests.bench.turns",
        "tests.bench.bare",
        "tests.bench.timer",
    },
    {"imgcap.evaluation.sweep"},
    {
        "imgcap.cli.command",
        "imgcap.run.average",
        "imgcap.training.loop",
        "imgcap.data.prepare.preparation",
    },
    {"imgcap.training.trainer"},
    {"imgcap.evaluation.evaluate"},
    {"imgcap.training.dry_run", "imgcap.training.watching.training_log"},
    {
        "imgcap.training.step",
        "imgcap.training.inputs.examples",
        "imgcap.training.watching.profiling",
    },
    {"imgcap.training.watching.tensorboard"},
    {"imgcap.training.objective.teacher_forcing"},
    {"imgcap.training.objective.self_critical"},
    {
        "imgcap.data.data_service",
        "imgcap.training.inputs.stored_features",
        "imgcap.model.captioner",
        "imgcap.data.prepare.shard_writer",
        "imgcap.data.prepare.tasks",
    },
    {
        "imgcap.data.batches",
        "imgcap.run.checkpoints",
        "imgcap.training.optimizer",
        "imgcap.training.machines.strategy",
        "imgcap.model.encoder",
        "imgcap.model.decoders",
        "imgcap.training.machines.workers",
    },
    {
        "imgcap.training.objective.cider_reward",
        "imgcap.model.recompute",
        "imgcap.data.records",
        "imgcap.data.image",
        "imgcap.model.search",
        "imgcap.training.objective.losses",
        "imgcap.data.manifest",
    },
    {"imgcap.training.watching.curves", "imgcap.evaluation.recipe_table"},
    {
        "imgcap.data.image.header",
        "imgcap.evaluation.contact_sheet",
        "imgcap.evaluation.scores",
        "imgcap.data.raw",
    },
    {
        "imgcap.data.vocabulary",
        "imgcap.progress",
        "imgcap.host.quiet",
        "imgcap.training.machines.interruption",
        "tests.bench.measurement_table",
    },
    {"imgcap.files", "imgcap.config", "imgcap.chart", "imgcap.training.machines.cluster"},
    {"imgcap.signature", "imgcap.errors", "imgcap.host.cpu"},
]


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
        assert not [
            used
            for used in imports(modules()[name])
            if used.split(".")[0] in ("imgcap", "export", "serving")
        ]
        return
    for used in imports(modules()[name]):
        below = layer_of(used)
        if below is not None and used.split(".")[:2] != name.split(".")[:2]:
            assert below >= own, f"{name} imports {used}, which is above it"


@pytest.mark.parametrize(
    ("package", "stranger"),
    [("imgcap", "export"), ("imgcap", "serving"), ("export", "serving"), ("serving", "export")],
)
def test_packages_keep_apart(package: str, stranger: str) -> None:
    for name, path in modules().items():
        if name.split(".")[0] == package:
            assert not [used for used in imports(path) if used.split(".")[0] == stranger], name


def test_flags_are_read_in_one_place() -> None:
    readers = [
        name
        for name, path in modules().items()
        if any(used.startswith("absl") for used in imports(path))
    ]
    assert readers == ["imgcap.cli.command"]


@pytest.mark.parametrize(
    "module",
    [
        "imgcap",
        "imgcap.signature",
        "imgcap.config",
        "imgcap.cli.command",
        "imgcap.cli.train",
        "imgcap.data.prepare.preparation",
        "imgcap.evaluation.scores",
        "serving.client",
        "serving.client.awaitable",
        "serving.cli.caption",
        "serving.cli.benchmark",
    ],
)
def test_no_tensorflow_where_none_is_needed(module: str) -> None:
    script = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("name", sorted(modules()))
def test_functions_are_read_in_one_sitting(name: str) -> None:
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, (
                f"{node.name} is {node.end_lineno - node.lineno + 1} lines long"
            )


@pytest.mark.parametrize("name", sorted(modules()))
def test_public_things_are_described(name: str) -> None:
    if name.endswith("_pb2"):
        pytest.skip("made by protoc")
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    named = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for node in named:
        if not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
