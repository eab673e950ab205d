"""imgcap-caption-batch, from images to joined answers: by servers and by an export."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest

from imgcap.errors import ConfigError, ServingError
from imgcap.signature import DECODE
from serving.cli.batch.exports import find_export
from serving.cli.batch.parts import Parts
from serving.cli.batch.run import COMMAND, main
from serving.cli.batch.saved_model import SavedModelCaptioner
from serving.client.errors import BadImage
from tests.support.fake_server import length_of, serving
from tests.support.paths import ROOT
from tests.support.servers import free_port

beam = pytest.importorskip("apache_beam")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten files of 1 to 10 bytes, and before them one that is no image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.jpg").write_bytes(b"x" * (number + 1))
    (folder / "+.jpg").write_bytes(b"bad")
    return folder


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    status = main([COMMAND.name, *map(str, arguments)])
    return status, *capsys.readouterr()


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def counted(asked: list[bytes], refuse: bytes = b""):
    """An answer that counts its requests, and refuses one image if it is named."""

    def answer(request, context):
        image = request.inputs["image_bytes"].string_val[0]
        asked.append(image)
        if image == refuse:
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(x)")
        return length_of(request, context)

    return answer


def test_answers_of_two_servers_in_the_order_of_the_images(capsys, photos, tmp_path) -> None:
    first, second = [], []
    output = tmp_path / "captions.jsonl"
    flags = [f"--input={photos}", f"--output={output}", "--images_per_shard=3"]
    with serving(counted(first)) as one, serving(counted(second)) as two:
        status, out, err = run(capsys, *flags, f"--server={one}, {two}")
        again = run(capsys, *flags, f"--server={one}")
    assert status == 0 and "Traceback" not in err
    assert out.startswith(f"{output}: 10 captions of 11 images; 11 in 0:0")
    assert out.endswith(f"; 1 unreadable, see {tmp_path}/captions.unreadable.jsonl\n")
    answers = read(output)
    assert [one["image"] for one in answers] == [f"{photos}/{n}.jpg" for n in range(10)]
    assert [one["caption"] for one in answers] == [str(n + 1) for n in range(10)]
    assert answers[0] | {"seconds": 0} == {
        "image": f"{photos}/0.jpg",
        "caption": "1",
        "score": -0.5,
        "error": None,
        "confidence": None,
        "unsure": False,
        "alternatives": [{"caption": "1", "score": -0.5}, {"caption": "second", "score": -0.75}],
        "model_version": 4,
        "seconds": 0,
    }
    assert read(tmp_path / "captions.unreadable.jsonl") == [
        {"image": f"{photos}/+.jpg", "caption": None, "score": None, "error": "not an image"}
    ]
    assert len(first) + len(second) == 11 and min(len(first), len(second)) >= 4
    assert again == (0, f"{output} has all answers already: remove it to ask again\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "captions.job.json",
        "captions.jsonl",
        "captions.unreadable.jsonl",
        "photos",
    ]


def test_a_job_that_stopped_goes_on_with_its_shards(capsys, photos, tmp_path) -> None:
    output, asked = tmp_path / "captions.jsonl", []
    flags = [f"--input={photos}", f"--output={output}", "--images_per_shard=2", "--concurrency=1"]
    with serving(counted(asked, refuse=b"x" * 6)) as target:
        status, out, err = run(capsys, *flags, f"--server={target}")
    assert (status, out) == (1, "")
    error = err.splitlines()[-1]
    assert error.startswith(f"imgcap-caption-batch: error: {target}: Servable not found")
    assert error.endswith("; finished shards stay, start the same command again to go on")
    assert not output.exists() and "Traceback" not in err
    kept = Parts(str(output)).find_finished({})
    whole = sum(counts.images for counts in kept.values())
    assert 0 < whole < 11
    # What the disk lost of a shard that was not finished does not matter.
    (tmp_path / "captions.parts" / "00000099.done").write_text("[1")
    again: list[bytes] = []
    with serving(counted(again)) as target:
        status, out, err = run(capsys, *flags, f"--server={target}")
    assert status == 0 and len(again) == 11 - whole
    assert f"captions.parts has {whole} of 11 images already" in err
    assert [one["caption"] for one in read(output)] == [str(n + 1) for n in range(10)]
    assert not (tmp_path / "captions.parts").exists()


def test_a_killed_job_started_again_asks_for_one_shard_twice_at_most(photos, tmp_path) -> None:
    asked: list[bytes] = []
    killed_at = [5]
    answer, size = counted(asked), 2

    def answer_or_kill(request, context):
        if killed_at and len(asked) >= killed_at[0]:
            killed_at.pop(0)
            os.killpg(jobs[-1].pid, signal.SIGKILL)
        return answer(request, context)

    output, jobs = tmp_path / "captions.jsonl", []
    script = "import sys; from serving.cli.batch.run import main; sys.exit(main())"
    flags = [f"--input={photos}", f"--output={output}", f"--images_per_shard={size}"]
    with serving(answer_or_kill) as target:
        command = [sys.executable, "-c", script, *flags, f"--server={target}", "--concurrency=1"]
        while not jobs or jobs[-1].returncode == -signal.SIGKILL:
            jobs.append(subprocess.Popen(command, cwd=ROOT, start_new_session=True))
            jobs[-1].wait(120)
    assert [job.returncode for job in jobs] == [-signal.SIGKILL, 0]
    assert [one["caption"] for one in read(output)] == [str(n + 1) for n in range(10)]
    assert len(read(tmp_path / "captions.unreadable.jsonl")) == 1
    assert len(asked) <= 11 + size


def test_another_job_does_not_take_its_output(capsys, photos, tmp_path) -> None:
    output = tmp_path / "captions.jsonl"
    flags = [f"--input={photos / '0.jpg'}", f"--output={output}"]
    with serving(length_of) as target, serving(length_of, version=5) as newer:
        assert run(capsys, *flags, f"--server={target}")[0] == 0
        for other, name in [
            ([f"--input={photos}", *flags[1:], f"--server={target}"], "input"),
            ([*flags, f"--server={target}", "--max_side=64"], "max_side"),
            ([*flags, f"--server={newer}"], "model_version"),
        ]:
            status, _, err = run(capsys, *other)
            assert status == 2 and err.count("\n") == 1
            assert f"--output={output} belongs to a job with another {name} (" in err
            assert f"remove {tmp_path}/captions.job.json and {output}" in err
        status, _, err = run(capsys, *flags[:1], "--output=x.jsonl", f"--server={target},{newer}")
        assert status == 1 and f"several versions of imgcap (4 at {target}, 5 at {newer})" in err
        # Removed answers are wanted anew; those of another program are not touched.
        output.unlink()
        assert run(capsys, *flags, f"--server={target}")[0] == 0 and output.exists()
        (tmp_path / "captions.job.json").unlink()
        status, _, err = run(capsys, *flags, f"--server={target}")
        assert status == 2 and f"--output={output} is there, of no job that can go on" in err


@pytest.mark.parametrize(
    "flags, status, message",
    [
        ([], 2, "--input is missing"),
        (["--input=.", "--output=x", "--model=a", "--server=b:1"], 2, "are both given: choose one"),
        (["--input=.", "--output=x", "--server=b:1,c"], 2, "--server='c' is no address"),
        (["--input=nowhere", "--output=x"], 2, "--input=nowhere does not exist"),
        (["--input=empty", "--output=empty/x"], 2, "--input=empty has no image"),
        (["--input=.", "--output=x", "--model=nowhere"], 2, "nowhere"),
        (["--input=.", "--output=x", "stray"], 2, "'stray' is no option of --runner=DirectRunner"),
        (["--input=.", "--output=x", "--", "--nope=1"], 2, "DirectRunner has no option --nope"),
        (["--input=.", "--output=x", "--runner=Nope"], 2, "--runner=Nope: Unexpected pipeline"),
    ],
)
def test_wrong_use_is_one_line(capsys, tmp_path, monkeypatch, flags, status, message) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    with serving(length_of) as target:
        if not any(flag.startswith(("--server", "--model", "--input=no")) for flag in flags):
            flags = [f"--server={target}", *flags]
        found, out, err = run(capsys, *flags)
    assert (found, out) == (status, "") and message in err, err
    assert [line for line in err.splitlines() if "captioning" not in line] == [
        err.strip().splitlines()[-1]
    ]
    assert list((tmp_path / "empty").iterdir()) == []


def test_servers_that_are_away_at_the_start_are_one_line(capsys, photos, tmp_path) -> None:
    flags = [f"--input={photos}", f"--output={tmp_path}/c.jsonl", "--timeout=2"]
    away = f"localhost:{free_port()}"
    status, out, err = run(capsys, *flags, f"--server={away}")
    assert (status, out) == (3, "") and err.count("\n") == 1
    assert f"no model server answers at {away}" in err
    with serving(length_of) as target:
        status, _, err = run(capsys, *flags, f"--server={away},{target}")
    assert status == 0 and "; going on without it until it answers" in err


def test_without_beam_or_tensorflow_one_line_says_what_to_install(photos, tmp_path) -> None:
    script = (
        "import sys; sys.modules[sys.argv.pop(1)] = None\n"
        "from serving.cli.batch.run import main; sys.exit(main())"
    )
    flags = [f"--input={photos}", f"--output={tmp_path}/c.jsonl"]
    for missing, extra in [("apache_beam", "imgcap-tf[beam]"), ("tensorflow", "train,beam]")]:
        command = [sys.executable, "-c", script, missing, *flags]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "pip install 'imgcap-tf[" in done.stderr and extra in done.stderr


def test_an_export_answers_as_its_signature_does(
    capsys, models, data_dir, raw_dir, tmp_path
) -> None:
    import tensorflow as tf

    names = sorted((raw_dir / "Images").iterdir())
    folder = tmp_path / "photos"
    shutil.copytree(raw_dir / "Images", folder)
    (folder / names[3].name).write_bytes(b"no image")
    (folder / names[4].name).write_bytes(b"")
    output = tmp_path / "captions.jsonl"
    flags = [f"--input={folder}", f"--output={output}", f"--model={models}"]
    status, out, err = run(capsys, *flags, "--images_per_shard=18")
    assert status == 0 and "Traceback" not in err, err

    decode = tf.saved_model.load(str(models / "1")).signatures[DECODE]
    images = [path.read_bytes() for path in names]
    expected = decode(image_bytes=tf.constant(images))
    texts = [text.decode() for text in expected["caption"].numpy()]
    good = [number for number in range(len(names)) if number not in (3, 4)]
    answers = read(output)
    assert [one["image"] for one in answers] == [str(folder / names[n].name) for n in good]
    assert [one["caption"] for one in answers] == [texts[n] for n in good]
    scores = expected["score"].numpy()[good]
    np.testing.assert_allclose([one["score"] for one in answers], scores, rtol=1e-4)
    assert {one["model_version"] for one in answers} == {1}
    assert [
        (one["image"], one["error"]) for one in read(tmp_path / "captions.unreadable.jsonl")
    ] == [
        (str(folder / names[3].name), "not an image: JPEG, PNG, GIF, BMP or WebP is required"),
        (str(folder / names[4].name), "the file is empty"),
    ]

    # Prepared data hold the same files, by the same names.
    captions = {path.name: text for path, text in zip(names, texts, strict=True)}
    flags = [f"--input={data_dir}/manifest.json", f"--output={tmp_path}/prepared.jsonl"]
    assert run(capsys, *flags, f"--model={models / '1'}")[0] == 0
    answers = read(tmp_path / "prepared.jsonl")
    assert {one["image"]: one["caption"] for one in answers} == captions
    assert len(answers) == len(captions)


class Picky:
    """A session in place of TensorFlow's, that refuses what the test says."""

    def __init__(self, session, most: int, error: Exception) -> None:
        self._session, self._most, self._error, self.sizes = session, most, error, []

    def run(self, outputs, feed):
        (rows,) = feed.values()
        self.sizes.append(len(rows))
        if len(rows) > self._most or b"too large" in rows:
            raise self._error
        return self._session.run(outputs, feed)


def test_a_batch_that_fails_is_asked_in_halves(models, raw_dir) -> None:
    import tensorflow as tf

    model = SavedModelCaptioner(find_export(str(models), 0), DECODE, batches=1)
    images = [path.read_bytes() for path in sorted((raw_dir / "Images").iterdir())[:5]]
    whole = [answer.text for answer in model.caption_many(images)]
    full = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\nmore lines")
    model._session = picky = Picky(model._session, 2, full)
    images.insert(2, b"too large")
    answers = list(model.caption_many([*images, BadImage("the file is empty")]))
    assert [a.text for a in answers if not isinstance(a, BadImage)] == whole
    assert [str(a) for a in answers if isinstance(a, BadImage)] == [
        "OOM when allocating",
        "the file is empty",
    ]
    assert picky.sizes == [6, 3, 1, 2, 1, 1, 3, 1, 2]
    broken = tf.errors.InternalError(None, None, "broken graph")
    model._session = Picky(picky._session, 0, broken)
    with pytest.raises(ServingError, match=r"the export fails \(broken graph\): export it again"):
        list(model.caption_many(images))


def test_an_export_is_found_by_its_newest_version(models, tmp_path) -> None:
    folder = tmp_path / "imgcap"
    for version in ("2", "10"):
        shutil.copytree(models / "1", folder / version)
    found = find_export(str(folder), 0)
    assert (found.folder, found.version) == (str(folder / "10"), 10)
    assert find_export(str(folder), 2).version == find_export(str(folder / "2"), 0).version == 2
    with pytest.raises(ConfigError, match=r"--model_version=3 is not in .*: it has 2, 10"):
        find_export(str(folder), 3)
    manifest = folder / "10" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"imgcap"', '"other"', 1))
    with pytest.raises(ServingError, match="10/manifest.json is damaged: export the model again"):
        find_export(str(folder), 0)
    with pytest.raises(ConfigError, match="has no version of an export: run imgcap-export"):
        find_export(str(tmp_path), 0)
