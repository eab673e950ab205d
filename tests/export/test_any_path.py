"""Exports into folders that TensorFlow would read as patterns, or whose names are no text."""

import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from export.check import sample_images
from export.check.parity import reload_answers
from export.versions import prune, publish
from serving.server.models.servable import Servable
from tests.support.paths import ALL_AT_ONCE


class Assets(tf.Module):
    """A model as small as can be, with a variable and a file that it reads when it is loaded."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.weight = tf.Variable(3.0)
        self.file = tf.saved_model.Asset(bytes(file))


@pytest.fixture(scope="module")
def version(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session's export under a name that stumbles."""
    folder = tmp_path_factory.mktemp("odd") / ALL_AT_ONCE / "m[1]" / "1"
    shutil.copytree(models / "1", folder)
    return folder


def test_an_export_under_any_name_is_checked_as_any_other(version: Path) -> None:
    (photo,) = sample_images(version)[:1]
    assert reload_answers(version, [photo])["decode/captions"].shape[0] == 1


def test_an_export_under_any_name_is_served(version: Path) -> None:
    assert Servable(version).warmup_seconds


def test_an_asset_from_any_folder_is_copied(tmp_path: Path) -> None:
    (tmp_path / ALL_AT_ONCE).mkdir()
    (tmp_path / ALL_AT_ONCE / "words.txt").write_text("a\n")
    tf.saved_model.save(Assets(tmp_path / ALL_AT_ONCE / "words.txt"), str(tmp_path / "saved"))
    (copied,) = (tmp_path / "saved" / "assets").iterdir()
    assert copied.read_text() == "a\n"


def test_versions_are_published_and_removed_where_renaming_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, target: Path) -> Path:
        raise OSError(18, "Invalid cross-device link", str(source))

    monkeypatch.setattr(Path, "replace", fail)
    monkeypatch.setattr(Path, "rename", fail)
    for number in (1, 2, 3):
        unfinished = tmp_path / ".unfinished"
        (unfinished / "variables").mkdir(parents=True)
        (unfinished / "variables" / "data").write_text(str(number))
        published = publish(unfinished, tmp_path, lambda number: None)
        assert published == tmp_path / str(number)
    assert prune(published, keep=1) == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    assert (tmp_path / "3" / "variables" / "data").read_text() == "3"
