"""imgcap-caption against a server that answers the number of bytes."""

import csv
import io
import json
import subprocess
import sys
import time

import grpc
import pytest
from PIL import Image

from serving.cli import caption
from serving.cli.answers.answer_file import open_answers
from tests.support.fake_server import answer_for, failing, length_of, numbers, serving
from tests.support.paths import ROOT
from tests.support.servers import free_port


@pytest.fixture(scope="module")
def server():
    with serving(length_of) as target:
        yield f"--server={target}"


@pytest.fixture
def photos(tmp_path):
    for name, content in {"a.jpg": b"1", "b.png": b"22", "deep/c.gif": b"333"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def run(capsys, *arguments) -> tuple[int, str, str]:
    status = caption.main(["imgcap-caption", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_a_line_for_each_image(capsys, server, photos):
    status, out, err = run(capsys, photos, server)
    assert (status, err) == (0, "")
    assert out == "".join(
        f"{photos}/{name}\t{size}\n"
        for name, size in [("a.jpg", 1), ("b.png", 2), ("deep/c.gif", 3)]
    )


def test_flags_may_stand_before_and_behind(capsys, server, photos):
    _, before, _ = run(capsys, server, photos / "*.jpg", photos / "b.png")
    _, behind, _ = run(capsys, photos / "*.jpg", photos / "b.png", *server.split("="))
    assert before == behind and before.count("\n") == 2


def test_json_is_one_array_of_objects(capsys, server, photos):
    status, out, err = run(capsys, photos / "b.png", photos / "a.jpg", server, "--json")
    first, second = json.loads(out)
    assert status == 0 and err == ""
    assert (first["image"], first["caption"], first["score"], first["error"]) == (
        f"{photos}/b.png",
        "2",
        -0.5,
        None,
    )
    assert first["alternatives"] == [
        {"caption": "2", "score": -0.5},
        {"caption": "second", "score": -0.75},
    ]
    assert second["caption"] == "1" and second["model_version"] == 4


def test_bad_images_are_named_and_the_others_captioned(capsys, server, photos):
    (photos / "bad.jpg").write_bytes(b"bad")
    (photos / "empty.jpg").touch()
    arguments = [
        photos / name for name in ("bad.jpg", "a.jpg", "empty.jpg", "missing.jpg", "b.png")
    ]
    status, out, err = run(capsys, *arguments, server)
    assert status == 1
    assert out == f"{photos}/a.jpg\t1\n{photos}/b.png\t2\n"
    assert err.splitlines() == [
        f"imgcap-caption: {photos}/bad.jpg: not an image",
        f"imgcap-caption: {photos}/empty.jpg: the file is empty",
        f"imgcap-caption: {photos}/missing.jpg: can't be read: No such file or directory",
    ]
    status, out, _ = run(capsys, *arguments, server, "--json")
    objects = json.loads(out)
    assert status == 1 and [entry["caption"] for entry in objects] == [None, "1", None, None, "2"]
    assert objects[0] | {"error": None} == {
        "image": f"{photos}/bad.jpg",
        "caption": None,
        "score": None,
        "error": None,
    }
    assert [bool(entry["error"]) for entry in objects] == [True, False, True, True, False]


def test_standard_input_is_an_image(server, photos):
    script = "import sys; from serving.cli.caption import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "-", str(photos / "a.jpg"), server],
        input=b"four",
        capture_output=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == f"-\t4\n{photos}/a.jpg\t1\n"


def test_jsonl_goes_to_a_file(capsys, server, photos, tmp_path):
    (photos / "bad.jpg").write_bytes(b"bad")
    output = tmp_path / "out.jsonl"
    arguments = [photos / "a.jpg", photos / "bad.jpg", server, f"--jsonl_output={output}"]
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (1, "") and "bad.jpg: not an image" in err
    first, second = map(json.loads, output.read_text().splitlines())
    assert (first["caption"], first["error"]) == ("1", None)
    assert (second["caption"], second["error"]) == (None, "not an image")
    assert run(capsys, photos, server, "--jsonl_output=/no/folder/x")[0] == 2
    assert run(capsys, photos, server, "--json", f"--jsonl_output={output}")[0] == 2


def test_a_second_run_asks_for_what_is_not_in_the_file(capsys, server, photos, tmp_path):
    (photos / "bad.jpg").write_bytes(b"bad")
    output = tmp_path / "out.jsonl"
    flag = f"--jsonl_output={output}"
    assert run(capsys, photos / "a.jpg", photos / "bad.jpg", server, flag)[0] == 1
    first = output.read_text()
    mine = first.replace('"caption": "1"', '"caption": "mine"')
    output.write_text(mine + '{"image": "half of a li')
    names = [photos / name for name in ("a.jpg", "b.png", "bad.jpg")]
    status, _, err = run(capsys, *names, server, flag)
    assert status == 1  # one of them still has no caption
    assert err == (
        f"imgcap-caption: {output} has 2 of 3 answers already; remove it to ask for them again\n"
    )
    text = output.read_text()
    assert text.startswith(mine) and "half" not in text
    assert [json.loads(line)["caption"] for line in text.splitlines()] == ["mine", None, "2"]
    # All is there: no server is needed.
    assert run(capsys, *names[:2], "--server=localhost:1", flag)[0] == 0
    assert output.read_text() == text


def test_a_file_that_holds_something_else_stays(capsys, server, photos, tmp_path):
    for content in ("# notes\n", '{"image": "x"}\n', "[1]\n"):
        notes = tmp_path / "notes.txt"
        notes.write_text(content)
        status, _, err = run(capsys, photos, server, f"--jsonl_output={notes}")
        assert (status, notes.read_text()) == (2, content)
        assert "notes.txt has a line 1 that is no answer: name another file" in err


def test_two_commands_do_not_write_one_file(capsys, server, photos, tmp_path):
    output = tmp_path / "out.jsonl"
    with open_answers(str(output)):
        status, _, err = run(capsys, photos, server, f"--jsonl_output={output}")
    assert status == 2 and err.endswith(
        f"{output} is being written by another command: wait for it\n"
    )
    assert run(capsys, photos, server, "--jsonl_output=/dev/null")[0] == 0


# What a calibrated model says of the photos, and how far to trust it; "!" is no image.
ANSWERS = {
    b"1": ("a dog's ball", 0.75),
    b"22": ('=a sign "stop" & go', 0.5),
    b"333": ("two men", 0.125),
}


def calibrated(request, context):
    row = request.inputs["image_bytes"].string_val[0]
    if row == b"!":
        return answer_for("", "not an image", (0.0, 0.0))
    text, confidence = ANSWERS[row]
    return answer_for(text, confidence=(confidence, 0.0625))


@pytest.fixture(scope="module")
def calibrated_server():
    with serving(calibrated) as target:
        yield f"--server={target}"


def test_lines_say_how_far_to_trust_them(capsys, calibrated_server, photos):
    names = [f"{photos}/{name}" for name in ("a.jpg", "b.png", "deep/c.gif")]
    texts = [text for text, _ in ANSWERS.values()]
    status, out, _ = run(capsys, photos, calibrated_server)
    assert status == 0
    assert out.splitlines() == [
        "\t".join(line) for line in zip(names, texts, ("75%", "50%", "12%"), strict=True)
    ]
    # 0.5 is not below 0.5, and an unsure caption is a caption.
    status, out, _ = run(capsys, photos, calibrated_server, "--min_confidence=0.5")
    assert status == 0
    assert [line.split("\t")[2] for line in out.splitlines()] == ["75%", "50%", "12% unsure"]


def test_json_says_how_far_to_trust(capsys, calibrated_server, photos, tmp_path):
    (photos / "bad.jpg").write_bytes(b"!")
    flags = [calibrated_server, "--min_confidence=0.6"]
    status, out, _ = run(capsys, photos, *flags, "--json")
    objects = json.loads(out)
    assert status == 1 and [(o.get("confidence"), o.get("unsure")) for o in objects] == [
        (0.75, False),
        (0.5, True),
        (None, None),
        (0.125, True),
    ]
    output = tmp_path / "out.jsonl"
    assert run(capsys, photos, *flags, f"--jsonl_output={output}")[0] == 1
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    timeless = [{k: v for k, v in o.items() if k != "seconds"} for o in (*lines, *objects)]
    assert timeless[:4] == timeless[4:]


def test_alternative_texts_are_ready_to_paste_or_empty(capsys, calibrated_server, photos):
    (photos / "bad.jpg").write_bytes(b"!")
    flags = [calibrated_server, "--alt_text", "--min_confidence=0.5"]
    status, out, err = run(capsys, photos, *flags)
    assert status == 1 and "bad.jpg: not an image" in err
    assert out == (
        f"{photos}/a.jpg\tA dog's ball.\n"
        f"{photos}/b.png\t=a sign &quot;stop&quot; &amp; go.\n"
        f"{photos}/bad.jpg\t\n"
        f"{photos}/deep/c.gif\t\n"
    )
    assert "\tTwo men.\n" in run(capsys, photos / "deep", *flags[:2])[1]


def test_csv_has_a_row_an_image_and_no_formula(capsys, calibrated_server, photos):
    (photos / "bad.jpg").write_bytes(b"!")
    status, out, _ = run(capsys, photos, calibrated_server, "--csv", "--min_confidence=0.5")
    assert status == 1
    assert list(csv.reader(io.StringIO(out))) == [
        ["image", "caption", "score", "confidence", "unsure", "error"],
        [f"{photos}/a.jpg", "a dog's ball", "-0.5", "0.75", "false", ""],
        [f"{photos}/b.png", '\'=a sign "stop" & go', "-0.5", "0.5", "false", ""],
        [f"{photos}/bad.jpg", "", "", "", "", "not an image"],
        [f"{photos}/deep/c.gif", "two men", "-0.5", "0.125", "true", ""],
    ]


def test_a_model_without_confidence(capsys, server, photos):
    objects = json.loads(run(capsys, photos / "a.jpg", server, "--json")[1])
    assert objects[0]["confidence"] is None and objects[0]["unsure"] is False
    rows = list(csv.DictReader(io.StringIO(run(capsys, photos / "a.jpg", server, "--csv")[1])))
    assert rows[0]["confidence"] == "" and rows[0]["unsure"] == "false"
    status, out, err = run(capsys, photos, server, "--min_confidence=0.5")
    assert (status, out) == (2, "") and err == (
        "imgcap-caption: error: --min_confidence=0.5: this model gives no confidence; run "
        "imgcap-evaluate --calibrate on its run and export it again, or leave the flag out\n"
    )


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--json", "--csv"], "--json and --csv are both given: choose one"),
        (["--alt_text", "--jsonl_output=x"], "--jsonl_output and --alt_text are both given"),
        (["--json", "--csv", "--alt_text"], "--json and --csv and --alt_text are all given"),
        (["--min_confidence=1.5"], "--min_confidence=1.5 is above the greatest value, 1.0"),
        (["--min_confidence=-1"], "--min_confidence=-1.0 is below the least value, 0.0"),
    ],
)
def test_formats_exclude_each_other(capsys, server, photos, flags, message):
    status, out, err = run(capsys, photos, server, *flags)
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1


def test_lines_before_the_server_went_away_are_kept(capsys, photos, tmp_path):
    answer, _ = failing(grpc.StatusCode.UNAVAILABLE, "gone", times=10**9)

    def one_then_none(request, context):
        if request.inputs["image_bytes"].string_val[0] == b"1":
            return length_of(request, context)
        return answer(request, context)

    output = tmp_path / "out.jsonl"
    with serving(one_then_none) as target:
        arguments = [photos, f"--server={target}", "--timeout=1", f"--jsonl_output={output}"]
        status, _, err = run(capsys, *arguments)
    assert status == 3 and err.count("\n") == 1
    assert [json.loads(line)["caption"] for line in output.read_text().splitlines()] == ["1"]


def test_a_server_that_goes_away_among_many_images_is_waited_for(capsys, tmp_path):
    folder, output = tmp_path / "photos", tmp_path / "out.jsonl"
    folder.mkdir()
    for number in range(caption.MANY + 10):
        (folder / f"{number:02d}.jpg").write_bytes(b"x" * (number + 1))
    times = 0

    def away_in_the_middle(request, context):
        nonlocal times
        times += 1
        if 12 <= times <= 24:  # longer than gRPC repeats a call by itself
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        return length_of(request, context)

    # The first ten answers are there from a run that was killed in the middle of a line.
    first = [folder / f"{number:02d}.jpg" for number in range(10)]
    with serving(length_of) as target:
        assert run(capsys, *first, f"--server={target}", f"--jsonl_output={output}")[0] == 0
    output.write_text(output.read_text() + '{"image": "half of a li')
    with serving(away_in_the_middle) as target:
        status, _, err = run(capsys, folder, f"--server={target}", f"--jsonl_output={output}")
    assert status == 0 and times > 24
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    assert [answer["image"] for answer in answers] == sorted(map(str, folder.iterdir()))
    assert [answer["caption"] for answer in answers] == [
        str(n + 1) for n in range(caption.MANY + 10)
    ]
    kept, waits, goes_on = err.splitlines()
    assert "has 10 of 30 answers already" in kept
    assert waits.startswith(f"imgcap-caption: no model server answers at {target}")
    assert waits.endswith("; waiting up to 300 s for it")
    assert goes_on == f"imgcap-caption: {target} answers again: going on"


def test_waiting_for_a_server_ends_in_one_error(capsys, tmp_path):
    for number in range(caption.MANY):
        (tmp_path / f"{number:02d}.jpg").write_bytes(b"x")
    asked = []

    def one_answer(request, context):
        asked.append(time.monotonic())
        if len(asked) > 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        return length_of(request, context)

    with serving(one_answer) as target:
        # One after the other: of two at a time the second may be asked, and answered, first.
        flags = [f"--server={target}", "--wait=1", "--concurrency=1"]
        status, out, err = run(capsys, tmp_path, *flags)
    assert status == 3 and out.count("\n") == 1
    waits, error = err.splitlines()
    assert waits.endswith("waiting up to 1 s for it")
    assert error.startswith(f"imgcap-caption: error: no model server answers at {target}")
    assert " s, or ask none by --local" in error and "; waited " in error


def test_label_reaches_the_server(capsys, photos):
    seen = []

    def answer(request, context):
        seen.append(request.model_spec.version_label)
        return length_of(request, context)

    with serving(answer) as target:
        assert run(capsys, photos / "a.jpg", f"--server={target}", "--label=canary")[0] == 0
        both = run(
            capsys, photos / "a.jpg", f"--server={target}", "--label=canary", "--model_version=1"
        )
    assert seen == ["canary"] and both[0] == 2 and "choose one" in both[2]


def test_a_cut_off_image_is_named_beside_its_caption(capsys, photos):
    def answer(request, context):
        response = answer_for("a dog runs")
        response.outputs["missing"].CopyFrom(numbers([0.25], 1))
        return response

    with serving(answer) as target:
        status, out, err = run(capsys, photos / "a.jpg", f"--server={target}")
    assert status == 0 and "a dog runs" in out
    assert err == f"imgcap-caption: {photos}/a.jpg: cut off, the lower 25% is missing\n"


def test_bar_shows_for_many_in_a_terminal(server, photos, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for number in range(caption.MANY):
        (photos / f"{number:02d}.jpg").write_bytes(b"x")
    for out, expected in ((io.StringIO(), True), (Terminal(), False)):
        err = Terminal()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        assert caption.main(["imgcap-caption", str(photos), server]) == 0
        assert ("captioning" in err.getvalue()) is expected
        assert out.getvalue().count("\n") == caption.MANY + 3


def test_names_that_are_not_ascii_stay_readable(capsys, server, photos):
    (photos / "a.jpg").rename(photos / "Käse ✓.jpg")
    assert "Käse ✓.jpg" in run(capsys, photos / "K*", server, "--json")[1]


def test_server_away_is_one_line(capsys, photos):
    port = free_port()
    status, out, err = run(capsys, photos, f"--server=localhost:{port}", "--timeout=2")
    assert (status, out) == (3, "")
    assert (
        err.count("\n") == 1
        and f"localhost:{port}" in err
        and "imgcap-serve --model_base_path=" in err
    )


def test_server_that_refuses_is_one_line(capsys, photos):
    answer, _ = failing(grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(nope)")
    with serving(answer) as target:
        status, out, err = run(capsys, photos, f"--server={target}", "--model=nope")
    assert (status, out) == (1, "") and err.count("\n") == 1 and "Latest(nope)" in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "no image is given"),
        (["{}/nothing"], "no image in"),
        (["a.jpg", "--signature=x"], "--signature"),
        (["a.jpg", "--concurrency=0"], "--concurrency=0"),
        (["a.jpg", "--nonsense"], "nonsense"),
    ],
)
def test_wrong_use_is_status_2(capsys, tmp_path, arguments, message):
    (tmp_path / "nothing").mkdir()
    status, out, err = run(capsys, *(argument.format(tmp_path) for argument in arguments))
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1


def attending(request, context):
    assert request.model_spec.signature_name == "decode_details"
    answer = length_of(request, context)
    answer.outputs["attention"].CopyFrom(numbers([0.25] * 24, 1, 2, 3, 4))
    return answer


def test_heatmap_has_a_panel_a_word(capsys, tmp_path):
    Image.new("RGB", (300, 200), "orange").save(tmp_path / "photo.png")
    with serving(attending) as target:
        drawn = tmp_path / "out.png"
        status, out, _ = run(
            capsys, tmp_path / "photo.png", f"--server={target}", f"--heatmap={drawn}"
        )
        assert status == 0 and out
        with Image.open(drawn) as picture:
            # The photo and the one word of the caption, side by side.
            assert picture.format == "PNG" and picture.width > 2 * 220 and picture.height < 300
        status, _, err = run(
            capsys, tmp_path / "photo.png", f"--server={target}", "--heatmap=/no/such/folder/a.png"
        )
        assert status == 2 and "--heatmap=/no/such/folder/a.png can't be written" in err


def test_heatmap_of_positions_that_make_no_square_is_refused(capsys, tmp_path):
    def crooked(request, context):
        answer = length_of(request, context)
        answer.outputs["attention"].CopyFrom(numbers([0.25] * 18, 1, 2, 3, 3))
        return answer

    Image.new("RGB", (30, 20), "orange").save(tmp_path / "photo.png")
    drawn = tmp_path / "out.png"
    with serving(crooked) as target:
        arguments = (tmp_path / "photo.png", f"--server={target}", f"--heatmap={drawn}")
        status, _, err = run(capsys, *arguments)
    assert status == 2 and not drawn.exists()
    assert f"--heatmap={drawn} can't be drawn: attention of 3 positions is not that of a" in err


def test_heatmap_is_about_one_image_of_a_model_that_attends(capsys, server, photos):
    status, _, err = run(capsys, photos, server, "--heatmap=a.png")
    assert status == 2 and "--heatmap=a.png is about one image: 3 are given" in err
    status, _, err = run(capsys, photos / "a.jpg", server, "--heatmap=a.png")
    assert status == 2 and "this model does not attend" in err
    status, _, err = run(capsys, photos, server, "--heatmap=a.png", "--signature=greedy")
    assert status == 2 and "is about one image" in err
    one = photos / "a.jpg"
    status, _, err = run(capsys, one, server, "--heatmap=a.png", "--signature=greedy")
    assert status == 2 and "--heatmap=a.png needs beam search" in err
