"""Flags and image tags: none misspelt, all ways to start the server alike, and the page of
instructions says what is set.
"""

import configparser
import importlib.metadata
import json
import re
import subprocess
import sys

import pytest

from imgcap.files.model_folder import MANIFEST
from imgcap.signature import MODEL_NAME
from tests.serving.deployment.files import (
    DEPLOYMENT,
    KUBERNETES,
    README,
    REAL_FLAGS,
    compose,
    documents,
    flags,
    predictor,
    server_arguments,
)
from tests.support.command_lines import flags_of, load_commands, used_flags
from tests.support.paths import ROOT

# Flags about a list of models, which KServe's runtime does without.
MODEL_LIST = {
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models",
}


@pytest.mark.parametrize("where", server_arguments())
def test_flags_are_those_of_the_real_server(where):
    given = flags(server_arguments()[where])
    assert set(given) <= REAL_FLAGS
    assert (
        int(given["grpc_max_threads"]) >= 64 and given["enable_grpc_healthcheck_service"] == "true"
    )
    if where != "KServe":
        assert (
            given["allow_version_labels_for_unavailable_models"] == "true"
        )  # else labels end the start
    assert given["tensorflow_intra_op_parallelism"] == "1"


def test_flags_in_documents_and_scripts_exist_somewhere():
    known = REAL_FLAGS.union(*(flags_of(command) for command in load_commands().values()))
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "serving").rglob("*.py"))
    named = {flag for flag in re.findall(r"(?<![\w-])--([a-z_0-9]+)", text) if "_" in flag}
    assert named <= known | {"python_out", "pyi_out", "optimize"}


@pytest.mark.parametrize("where", server_arguments())
def test_files_that_flags_name_are_there(where):
    given = flags(server_arguments()[where])
    named = {name: value for name, value in given.items() if value.startswith("/config/")}
    expected = {"model_config_file", "batching_parameters_file", "monitoring_config_file"}
    assert set(named) == (expected - MODEL_LIST if where == "KServe" else expected)
    for value in named.values():
        assert (DEPLOYMENT / value.removeprefix("/config/")).is_file()


def test_all_roads_start_the_server_alike():
    arguments = {where: flags(words) for where, words in server_arguments().items()}
    ports = {
        "port": "8500",
        "rest_api_port": "8501",
    }  # the image's entrypoint gives them to compose
    alike = arguments["Compose"] | ports | {"tensorflow_inter_op_parallelism": "2"}
    assert alike == arguments["Kubernetes"] | {"ssl_config_file": "${SSL_CONFIG_FILE:-}"}
    assert arguments["Compose, GPU"] == arguments["Compose"]
    without = {"port", "rest_api_port", *MODEL_LIST}
    assert arguments["KServe"] == {
        name: value for name, value in arguments["Kubernetes"].items() if name not in without
    }


def page_words() -> list[str]:
    """The command line of the page's image."""
    text = (DEPLOYMENT / "Dockerfile.app").read_text()
    (start,) = re.findall(r"^CMD (\[.+\])$", text, re.MULTILINE)
    program, *words = json.loads(start)
    assert program == "imgcap-page"
    return words


def test_table_has_every_flag_that_a_file_sets():
    rows = re.findall(
        r"^\| `(--[^`]+)` \| (server|`imgcap-page`) \| ([^|]+) \| ([^|]+) \|$",
        README.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    told = [
        (program, word, where) for word, program, wheres, _ in rows for where in wheres.split(", ")
    ]
    arguments = server_arguments()
    del arguments["Compose, GPU"]  # the same
    found = [("server", word, where) for where, words in arguments.items() for word in words] + [
        ("`imgcap-page`", word, "page image") for word in page_words()
    ]
    assert len(told) > 30 and sorted(told) == sorted(found)
    assert all(len(why) > 20 for *_, why in rows)


def test_images_are_of_the_tensorflow_that_exports():
    """setup.cfg allows one minor version of TensorFlow; exports are of it, and so is the server."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    extra = parser["options.extras_require"]["train"]
    major, minor = map(int, re.search(r"^tensorflow>=(\d+)\.(\d+),<", extra, re.MULTILINE).groups())
    assert f"tensorflow>={major}.{minor},<{major}.{minor + 1}\n" in extra
    assert importlib.metadata.version("tensorflow").startswith(f"{major}.{minor}.")
    tag = f"{major}.{minor}.0"
    services = compose()["services"]
    image = f"tensorflow/serving:${{TF_SERVING_TAG:-{tag}}}"
    assert services["serving-cpu"]["image"] == image
    assert services["serving-gpu"]["image"] == f"{image}-gpu"
    (settings,) = documents(KUBERNETES / "kustomization.yaml")
    assert {"name": "tensorflow/serving", "newTag": tag} in settings["images"]
    assert predictor()["model"]["runtimeVersion"] == tag
    text = README.read_text(encoding="utf-8")
    assert f"`tensorflow/serving:{tag}`" in text
    assert f"say {tag}, for exports of this package (TensorFlow {major}.{minor})" in text


def test_instructions_read_the_tag_from_a_manifest(tmp_path):
    (command,) = re.findall(
        r"^export TF_SERVING_TAG=\$\((.+)\)$", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    folder = tmp_path / "models" / MODEL_NAME / "1"
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text('{"name": "imgcap", "tensorflow_version": "2.21.3"}')
    command = command.replace("python3", sys.executable)
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("2.21.3\n", "")


def test_commands_in_the_page_of_instructions_exist():
    known = {name: flags_of(command) for name, command in load_commands().items()}
    text = README.read_text(encoding="utf-8")
    # of Kubernetes, not commands
    objects = {"imgcap-serving", "imgcap-models", "imgcap-dashboard"}
    found = [(name, flag) for name, flag in used_flags(text) if name not in objects]
    assert len(found) > 5
    for name, flag in found:
        assert flag in known[name], f"{name} has no --{flag}"
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (ROOT / "serving" / target).exists(), target
