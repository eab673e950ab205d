"""imgcap-rollout on running servers: forwards under callers, back, and every step that fails."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from imgcap.errors import ServingError
from serving.cli import rollout
from serving.client import CaptionClient
from serving.server.local_server import LocalServer, ServerOptions
from serving.server.models.model_list import read_model_list
from serving.server.settings.model_file import Listed, read_listed, write_listed
from tests.support.servers import KINDS, running
from tests.support.toy_model import write_toy_model

LIST = """# who may call it: everybody
model_config_list {
  config {
    name: "imgcap"
    base_path: "%s"
    model_platform: "tensorflow"  # the only one
    model_version_policy { specific { versions: 1 } }
    # where clients look
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 1 }
  }
}
"""


@pytest.fixture(scope="module")
def base_path(tmp_path_factory) -> Path:
    """A model with two good versions, of which 10 is the newer one, and a broken one."""
    folder = tmp_path_factory.mktemp("models") / "imgcap"
    write_toy_model(folder / "1", "one")
    write_toy_model(folder / "10", "ten")
    (folder / "3").mkdir()
    (folder / "3" / "saved_model.pb").write_bytes(b"nonsense")
    return folder


@pytest.fixture
def path(tmp_path, base_path) -> Path:
    path = tmp_path / "models.config"
    path.write_text(LIST % base_path)
    return path


@pytest.fixture
def photo(tmp_path) -> Path:
    (tmp_path / "photo.jpg").write_bytes(b"four")
    return tmp_path / "photo.jpg"


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """The embedded server on a list that it reads often."""
    options = ServerOptions(
        config_file=path, config_poll_seconds=0.05, allow_labels_for_unavailable=True
    )
    with LocalServer(read_model_list(path), options) as server:
        yield server.target


def roll(path: Path, target: str, *flags: str) -> int:
    return rollout.main(
        ["imgcap-rollout", f"--model_config_file={path}", f"--server={target}", *flags]
    )


def versions(target: str) -> dict[str, int]:
    """The version that answers to each label."""
    found = {}
    for label in ("stable", "canary"):
        with CaptionClient(target, label=label) as client:
            found[label] = client.version_now()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_rollout_and_rollback_under_callers_lose_no_request(kind, path, photo, capsys):
    """On the real server, too: in the wrong order it would load no new version, ever."""
    text = path.read_text()
    flags = {
        "model_config_file": str(path),
        "model_config_file_poll_wait_seconds": 1,
        "allow_version_labels_for_unavailable_models": True,
    }
    seen: list[tuple[str, int]] = []
    errors: list[ServingError] = []
    ended = threading.Event()

    def keep_asking(target: str, label: str) -> None:
        with CaptionClient(target, label=label, retries=0) as client:
            while not ended.is_set():
                try:
                    seen.append((label, client.caption(b"four").version))
                except ServingError as error:
                    errors.append(error)

    with running(kind, **flags) as server:
        askers = [
            threading.Thread(target=keep_asking, args=(server.target, label))
            for label in ("stable", "canary") * 2
        ]
        for asker in askers:
            asker.start()
        more = (f"--photo={photo}", "--watch_seconds=0.2")
        assert roll(path, server.target, "--until=alone", *more) == 0
        assert versions(server.target) == {"stable": 10, "canary": 10}
        with CaptionClient(server.target) as client:
            served = [entry.version for entry in client.status() if entry.state == "AVAILABLE"]
        assert served == [10]
        assert roll(path, server.target, "--rollback") == 0
        assert versions(server.target) == {"stable": 1, "canary": 1}
        ended.set()
        for asker in askers:
            asker.join()
    assert not errors and len(seen) > 20
    assert set(seen) == {(label, version) for label in ("stable", "canary") for version in (1, 10)}
    shown = capsys.readouterr().out
    assert "version 10: ten image of 4 bytes" in shown and "canary has answered" in shown
    assert "canary names 10" in shown and "rolled back to version 1" in shown
    assert text_format.Parse(path.read_text(), ModelServerConfig()) == text_format.Parse(
        text, ModelServerConfig()
    )


def test_steps_one_by_one(path):
    with serving(path) as target:
        assert roll(path, target, "--until=loaded") == 0
        assert versions(target) == {"stable": 1, "canary": 1}
        assert roll(path, target, "--until=canary") == 0
        assert versions(target) == {"stable": 1, "canary": 10}
        assert read_listed(path.read_text(), "imgcap").versions == (1, 10)
        assert roll(path, target) == 0
        assert versions(target) == {"stable": 10, "canary": 10}
        assert roll(path, target, "--rollback") == 0  # of all three
        assert versions(target) == {"stable": 1, "canary": 1}
        assert read_listed(path.read_text(), "imgcap").versions == (1,)


def test_version_that_cannot_be_loaded_is_rolled_back(path, capsys):
    with serving(path) as target:
        assert roll(path, target, "--model_version=3") == 1
        assert versions(target) == {"stable": 1, "canary": 1}
        assert roll(path, target) == 0  # and a good one is not held up by it
    error = capsys.readouterr().err
    assert "version 3 cannot be loaded" in error and "back where they were" in error
    assert error.count("\n") == 1


def test_photo_without_a_caption_stops_the_rollout(path, photo, capsys):
    photo.write_bytes(b"bad")
    with serving(path) as target:
        assert roll(path, target, f"--photo={photo}") == 1
        assert versions(target) == {"stable": 1, "canary": 1}
    assert "not an image" in capsys.readouterr().err
    assert read_listed(path.read_text(), "imgcap") == Listed((1,), {"stable": 1, "canary": 1})


def test_server_that_does_not_read_the_list_is_one_line(path, tmp_path, capsys):
    other = tmp_path / "other.config"
    other.write_text(path.read_text())
    with serving(path) as target:
        assert roll(other, target, "--step_seconds=0.5") == 1
    assert "--model_config_file_poll_wait_seconds" in capsys.readouterr().err
    assert read_listed(other.read_text(), "imgcap").versions == (1,)


def test_newest_version_policy_becomes_numbers_so_that_nothing_takes_over(path, base_path):
    path.write_text((LIST % base_path).replace("specific { versions: 1 }", "latest {}"))
    options = {"config_file": path, "config_poll_seconds": 0.05}
    text = path.read_text().replace("value: 1 ", "value: 10 ")
    path.write_text(text)
    with LocalServer(
        read_model_list(path), ServerOptions(allow_labels_for_unavailable=True, **options)
    ) as server:
        assert roll(path, server.target, "--model_version=1") == 0
        assert versions(server.target) == {"stable": 1, "canary": 1}
    assert read_listed(path.read_text(), "imgcap").versions == (1, 10)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--rollback"], "there is no rollout to take back"),
        (["--label=stable"], "--canary_label or --stable_label"),
        (["--watch_seconds=1"], "needs a --photo"),
        (["--model=nope"], "no model nope is listed, only imgcap"),
    ],
)
def test_wrong_use_is_one_line(path, capsys, flags, message):
    assert roll(path, "localhost:1", *flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "can't be read .No such file"),
        ("model_config_list { nonsense }", "no ModelServerConfig text proto"),
        ("", "no model imgcap is listed, only none"),
    ],
)
def test_wrong_list_is_one_line(tmp_path, capsys, text, message):
    path = tmp_path / "models.config"
    if text is not None:
        path.write_text(text)
    assert roll(path, "localhost:1") == 2
    error = capsys.readouterr().err
    assert message.split(" .")[0] in error and str(path) in error and error.count("\n") == 1


EDITS = {
    "as shipped": LIST % "/m",
    "one line": (LIST % "/m")
    .split("\n", 1)[1]
    .replace("  # the only one\n", "\n")
    # comments end a line
    .replace("    # where clients look\n", "")
    .replace("\n", " "),
    "no policy, no labels": 'model_config_list { config { name: "imgcap" base_path: "/m" } }',
    "other brackets": 'model_config_list: < config: < name: "imgcap" base_path: "/m" >; >',
    "braces in strings and comments": 'model_config_list { config { name: "imgcap" # }}\n'
    'base_path: \'/m{\' version_labels { key: "}\\"{" value: 3 } } }',
    "other models and fields": 'model_config_list { config { name: "a" base_path: "/a" '
    'version_labels { key: "stable" value: 9 } } config { base_path: "/m" model_platform: "x" '
    'logging_config { sampling_config { sampling_rate: 0.1 } } name: "imgcap" } }',
}


@pytest.mark.parametrize("layout", EDITS)
def test_edit_changes_versions_and_labels_and_nothing_else(layout):
    """The official messages say what must have changed."""
    text = EDITS[layout]
    edited = write_listed(text, "imgcap", Listed((1, 10), {"stable": 1, "canary": 10}))
    expected = text_format.Parse(text, ModelServerConfig())
    for config in expected.model_config_list.config:
        if config.name == "imgcap":
            config.model_version_policy.Clear()
            config.model_version_policy.specific.versions.extend([1, 10])
            config.version_labels.clear()
            config.version_labels.update({"stable": 1, "canary": 10})
    assert text_format.Parse(edited, ModelServerConfig()) == expected
    back = write_listed(edited, "imgcap", Listed((7,), {}))
    assert read_listed(back, "imgcap") == Listed((7,), {}) and "version_labels" not in back.replace(
        'version_labels { key: "stable" value: 9 }', ""
    )


def test_comments_stay():
    edited = write_listed(LIST % "/m", "imgcap", Listed((1, 2), {"stable": 1, "canary": 2}))
    for comment in ("# who may call it: everybody", "# the only one", "# where clients look"):
        assert comment in edited


def test_it_needs_no_tensorflow():
    code = "import sys, serving.cli.rollout; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
