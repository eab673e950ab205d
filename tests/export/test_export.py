"""The SavedModel: its contract read back, its captions against evaluation's, and publishing that
loses nothing.
"""

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export import card, cli, saved_model, versions
from export.check import parity
from export.cpu import optimize
from export.module import Assets
from imgcap import signature
from imgcap.config import DecodeConfig, ModelConfig, decode_from_tree
from imgcap.data import batches, manifest, records
from imgcap.data.image import decode as decode_image
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import ExportError
from imgcap.model.captioner import make_captioner
from imgcap.run.confidence_file import load_confidence
from imgcap.run.restore import load_captioner
from tests.support.modules import make_module
from tests.support.sharing import forget_checksums

CONTRACT = signature.make_signatures(attends=False, confident=True)
"""Of the shared export."""


@pytest.fixture(scope="module")
def served(models: Path) -> Any:
    return tf.saved_model.load(str(models / "1"))


@pytest.fixture(scope="module")
def reloaded(models: Path, data_dir: Path) -> dict[str, np.ndarray]:
    """What every signature answers in a process without this package and without Keras."""
    return parity.reload_answers(
        models / "1", [*parity.sample_images(data_dir), parity.NOT_AN_IMAGE]
    )


def test_signatures_are_the_contract(served: Any, models: Path) -> None:
    facts = card.read_manifest(models / "1")
    decode = facts["decode"]
    assert set(served.signatures) == set(CONTRACT)
    for name, (given, returned) in CONTRACT.items():
        width = {
            signature.GREEDY: 1,
            signature.SAMPLE: facts["sample"]["num_samples"],
        }.get(name, decode["beam_width"])
        sizes = {"B": None, "K": width, "T": decode["max_length"] + 1, "L": 1, "C": 24}

        def described(alias: str, sizes: dict = sizes) -> tuple[str, list[int | None]]:
            dtype, axes = signature.TENSORS[alias]
            return dtype, [sizes[axis] for axis in axes.split()]

        function = served.signatures[name]
        inputs = function.structured_input_signature[1]
        found = {alias: (spec.dtype.name, spec.shape.as_list()) for alias, spec in inputs.items()}
        assert found == {alias: described(alias) for alias in given}, name
        outputs = function.structured_outputs
        found = {alias: (spec.dtype.name, spec.shape.as_list()) for alias, spec in outputs.items()}
        assert found == {alias: described(alias) for alias in returned}, name


def test_the_contract_says_twice_the_same() -> None:
    """The tables of `imgcap.signature` against what its docstrings tell people."""
    source = Path(signature.__file__).read_text(encoding="utf-8")
    told = dict(re.findall(r'^([A-Z_]+) = "\w+"\n"""(\w+ \[[^\]]+\])', source, re.MULTILINE))
    for alias, (dtype, axes) in signature.TENSORS.items():
        assert told[alias.upper()] == f"{dtype} [{', '.join(axes.split())}]"


def test_every_weight_is_written_once(models: Path, workdir: Path) -> None:
    captioner = load_captioner(workdir)[0]
    written = tf.train.list_variables(str(models / "1" / "variables" / "variables"))
    shapes = [tuple(shape) for name, shape in written if name.endswith("VARIABLE_VALUE")]
    held = [
        tuple(variable.shape)
        for variable in (*captioner.encoder.variables, *captioner.decoder.variables)
    ]
    fitted = load_confidence(workdir)
    assert fitted is not None
    spread = fitted.calibration.spread
    held += [spread.mean.shape, spread.directions.shape]
    assert sorted(shapes) == sorted(held)


def caption_split(served: Any, name: str, data_dir: Path, split: str) -> dict[str, str]:
    """What a signature says to the images of a split, by image."""
    paths = manifest.shard_paths(data_dir, manifest.load_manifest(data_dir), split)
    parsed = list(
        map(records.parse_example, tf.data.TFRecordDataset([str(path) for path in paths]))
    )
    answer = served.signatures[name](image_bytes=tf.stack([row.image_bytes for row in parsed]))
    found = zip(
        (row.image_id.numpy().decode() for row in parsed), answer["caption"].numpy(), strict=True
    )
    return {image_id: caption.decode() for image_id, caption in found}


@pytest.mark.parametrize(("name", "beam_width"), [(signature.DECODE, 3), (signature.GREEDY, 1)])
def test_captions_are_those_of_evaluation(
    name: str, beam_width: int, served: Any, workdir: Path, data_dir: Path
) -> None:
    from imgcap.cli import evaluate
    from imgcap.evaluation.report.result_files import find_evaluation

    flags = [
        f"--workdir={workdir}",
        f"--data_dir={data_dir}",
        "--split=train",
        f"--beam_width={beam_width}",
    ]
    assert evaluate.main(["e", *flags]) == 0
    path = find_evaluation(workdir, "train", {"beam_width": beam_width}).captions
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert caption_split(served, name, data_dir, "train") == {
        row["image"]: row["caption"] for row in rows
    }


@pytest.mark.parametrize(
    ("flags", "width"),
    [
        (["--search=sample", "--num_samples=4", "--temperature=1.5", "--sampling_seed=3"], 4),
        (["--search=diverse", "--diversity=4"], 3),
        (["--search=mbr", "--beam_width=4", "--num_samples=6"], 4),
    ],
    ids=["sample", "diverse", "mbr"],
)
def test_other_searches_are_carried_by_decode(
    flags: list[str], width: int, workdir: Path, data_dir: Path, tmp_path: Path
) -> None:
    made = [f"--workdir={workdir}", f"--output_dir={tmp_path}", "--nocheck"]
    assert cli.main(["imgcap-export", *made, *flags]) == 0
    values = card.read_manifest(tmp_path / "1")["decode"]
    captioner, _ = load_captioner(workdir)
    paths = manifest.shard_paths(data_dir, manifest.load_manifest(data_dir), "test")
    rows = tf.data.TFRecordDataset([str(path) for path in paths]).map(records.parse_example)
    images = tf.stack([row.image_bytes for row in rows])
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    features = signatures[signature.ENCODE](image_bytes=images)[signature.FEATURES]
    wanted = captioner.caption_features(features, decode_from_tree(values))
    answer = signatures[signature.DECODE_DETAILS](image_bytes=images)
    assert answer[signature.CAPTIONS].shape == (len(images), width)
    short = signatures[signature.DECODE](image_bytes=images)
    np.testing.assert_array_equal(short[signature.CAPTIONS], answer[signature.CAPTIONS])
    np.testing.assert_array_equal(answer[signature.TOKENS], wanted.tokens)
    np.testing.assert_allclose(answer[signature.SCORES], wanted.scores, rtol=1e-5)
    assert any(len(set(row)) > 1 for row in answer[signature.CAPTIONS].numpy().tolist())


@pytest.mark.parametrize("name", [signature.SERVING_DEFAULT, signature.GREEDY, signature.ENCODE])
def test_a_bad_row_leaves_its_neighbours_alone(name: str, served: Any, raw_dir: Path) -> None:
    good = [path.read_bytes() for path in sorted((raw_dir / "Images").iterdir())[:3]]
    serve = served.signatures[name]
    mixed = serve(image_bytes=tf.constant([good[0], b"text", good[1], b"", good[2][:300], good[2]]))
    assert [bool(error) for error in mixed["error"].numpy()] == [
        False,
        True,
        False,
        True,
        True,
        False,
    ]
    # Bit for bit in a batch of one size; some CPUs add up another size in another order.
    healthy = serve(image_bytes=tf.constant([good[0], good[1], good[1], good[0], good[2], good[2]]))
    alone = serve(image_bytes=tf.constant(good))
    for alias, tensor in mixed.items():
        found, expected = tf.gather(tensor, [0, 2, 5]), tf.gather(healthy[alias], [0, 2, 5])
        np.testing.assert_array_equal(found, expected, err_msg=alias)
        if tensor.dtype.is_floating:
            np.testing.assert_allclose(found, alone[alias], rtol=1e-6, atol=1e-6, err_msg=alias)
        else:
            np.testing.assert_array_equal(found, alone[alias], err_msg=alias)
        if alias != signature.ERROR:
            assert not tf.gather(tensor, [1, 3, 4]).numpy().any(), alias


@pytest.mark.parametrize("name", CONTRACT)
def test_an_empty_batch(name: str, served: Any) -> None:
    given = served.signatures[name].structured_input_signature[1]
    nothing = {alias: tf.zeros([0, *spec.shape[1:]], spec.dtype) for alias, spec in given.items()}
    answer = served.signatures[name](**nothing)
    for output, tensor in answer.items():
        expected = served.signatures[name].structured_outputs[output].shape.as_list()
        assert tensor.shape.as_list() == [0, *expected[1:]]


def test_features_stand_for_their_image(served: Any, raw_dir: Path) -> None:
    images = tf.constant([path.read_bytes() for path in sorted((raw_dir / "Images").iterdir())[:5]])
    encoded = served.signatures[signature.ENCODE](image_bytes=images)
    assert not encoded[signature.ERROR].numpy().any()
    found = served.signatures[signature.DECODE_FEATURES](features=encoded[signature.FEATURES])
    for alias, tensor in served.signatures[signature.DECODE](image_bytes=images).items():
        np.testing.assert_array_equal(found[alias], tensor, err_msg=alias)


def test_features_are_those_of_training_bit_for_bit(
    served: Any, workdir: Path, data_dir: Path
) -> None:
    captioner, config = load_captioner(workdir)
    paths = manifest.shard_paths(data_dir, manifest.load_manifest(data_dir), "train")
    images = batches.evaluation_images(paths, images=8, image_size=config.model.image_size)
    expected = np.concatenate([tf.function(captioner.encoder)(batch.inputs) for batch in images])
    parsed = list(
        map(records.parse_example, tf.data.TFRecordDataset([str(path) for path in paths]))
    )
    found = served.signatures[signature.ENCODE](
        image_bytes=tf.stack([row.image_bytes for row in parsed])
    )
    assert expected.dtype == np.float32 and found[signature.FEATURES].shape == (32, 1, 24)
    np.testing.assert_array_equal(found[signature.FEATURES], expected)


def test_the_encoder_is_written_once(models: Path) -> None:
    # Four signatures encode, and the encoder of this run has one convolution.
    assert parity.count_operations(models / "1")["Conv2D"] == 1


@pytest.mark.parametrize("kind", ["none", "cpu"])
def test_the_size_on_disk_is_that_of_the_weights(
    kind: str, workdir: Path, encoder_file: Path, tmp_path: Path
) -> None:
    vocabulary = Vocabulary.load(workdir / "vocab.txt")
    model = ModelConfig(encoder=str(encoder_file), image_size=32, units=900, embedding_dim=900)
    captioner = make_captioner(model, vocabulary)
    assets = Assets(workdir / "vocab.txt", tmp_path / "card.json")
    assets.card.write_text("{}\n")
    encoder = optimize.make_fast_encoder(captioner.encoder, kind)
    module = make_module(captioner, encoder, DecodeConfig(), assets)
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.signatures())
    on_disk = sum(path.stat().st_size for path in (tmp_path / "1").rglob("*") if path.is_file())
    weights = sum(4 * int(np.prod(weight.shape)) for weight in captioner.trainable_variables)
    assert weights > 2e7 and weights < on_disk <= 1.1 * weights


# The encoder's file is for 32 pixels; for 48 it is rebuilt.
@pytest.mark.parametrize(("decoder", "image_size"), [("attention", 32), ("adaptive", 48)])
def test_attention_is_served_beside_the_words(
    decoder: str,
    image_size: int,
    workdir: Path,
    encoder_file: Path,
    raw_dir: Path,
    tmp_path: Path,
) -> None:
    model = ModelConfig(
        encoder=str(encoder_file),
        image_size=image_size,
        units=16,
        embedding_dim=16,
        decoder=decoder,
    )
    captioner = make_captioner(model, Vocabulary.load(workdir / "vocab.txt"))
    assets = Assets(workdir / "vocab.txt", tmp_path / "card.json")
    assets.card.write_text("{}\n")
    encoder = optimize.make_fast_encoder(captioner.encoder, "none")
    options = DecodeConfig(beam_width=2, max_length=6)
    module = make_module(captioner, encoder, options, assets, image_size)
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.signatures())
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    images = tf.constant([b"no image", next((raw_dir / "Images").iterdir()).read_bytes()])
    positions = captioner.encoder.features_shape[0]
    assert positions == (image_size // 8) ** 2
    contract = signature.make_signatures(attends=True, confident=False)
    features = signatures[signature.ENCODE](image_bytes=images)[signature.FEATURES]
    seen = captioner.encoder(decode_image(images[1].numpy(), image_size)[None])
    np.testing.assert_allclose(features[1], seen[0], atol=1e-5)
    answer = signatures[signature.DECODE_DETAILS](image_bytes=images)
    assert answer[signature.ATTENTION].shape == (2, 2, 7, positions)
    assert set(answer) == set(contract[signature.DECODE_DETAILS].outputs)
    wanted = captioner.attention_weights(features, answer[signature.TOKENS])
    np.testing.assert_allclose(answer[signature.ATTENTION][1], wanted[1], atol=1e-5)
    assert not answer[signature.ATTENTION][0].numpy().any()
    # Each written token has looked somewhere, and padding nowhere.
    looked = answer[signature.ATTENTION][1].numpy().sum(axis=-1) > 0.01
    np.testing.assert_array_equal(looked, answer[signature.TOKENS][1].numpy() != 0)
    # What a caller reads comes without them, and is the same.
    for alias, tensor in signatures[signature.DECODE](image_bytes=images).items():
        np.testing.assert_array_equal(tensor, answer[alias], err_msg=alias)
    for name in (signature.DECODE, signature.GREEDY, signature.SAMPLE, signature.DECODE_FEATURES):
        outputs = set(contract[name].outputs)
        assert set(signatures[name].structured_outputs) == outputs
        assert not outputs & {signature.TOKENS, signature.TOKEN_LOG_PROBS, signature.ATTENTION}


def test_limits_of_pixels_and_rows(
    workdir: Path, tmp_path: Path, raw_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--workdir={workdir}", f"--output_dir={tmp_path}", "--nocheck", "--max_pixels=5000"]
    assert cli.main(["imgcap-export", *flags, "--max_batch=4", "--max_missing=0.5"]) == 0
    assert "encoder: as Keras runs it" in capsys.readouterr().out.splitlines()
    decode = tf.saved_model.load(str(tmp_path / "1")).signatures[signature.DECODE]
    good = io.BytesIO()
    Image.open(next((raw_dir / "Images").iterdir())).resize((100, 50)).save(good, "PNG")
    large = io.BytesIO()
    Image.new("RGB", (100, 51)).save(large, "PNG")
    whole = io.BytesIO()
    Image.effect_noise((80, 60), 80).save(whole, "JPEG")
    cut = whole.getvalue()[: int(0.7 * len(whole.getvalue()))]
    answer = decode(image_bytes=tf.constant([good.getvalue(), large.getvalue(), cut, cut[:900]]))
    assert answer["caption"].numpy()[0] and answer["error"].numpy()[0] == b""
    assert answer["caption"].numpy()[2] and answer["error"].numpy()[2] == b""
    assert answer["error"].numpy()[3].startswith(b"the image data is cut off")
    missing = answer["missing"].numpy()
    assert missing[[0, 1, 3]].tolist() == [0, 0, 0] and abs(missing[2] - 0.3) < 0.2
    assert answer["error"].numpy()[1].startswith(b"declares 100x51 pixels, above the limit of 5000")
    facts = card.read_manifest(tmp_path / "1")
    assert (facts["max_pixels"], facts["max_batch"], facts["max_missing"]) == (5000, 4, 0.5)
    assert decode(image_bytes=tf.constant([b"text"] * 4))["error"].shape == (4,)
    with pytest.raises(tf.errors.InvalidArgumentError, match="has 5 rows, .* at most 4 at a time"):
        decode(image_bytes=tf.constant([b"text"] * 5))
    warmup = tf.data.TFRecordDataset(
        str(tmp_path / "1" / "assets.extra" / "tf_serving_warmup_requests")
    )
    assert len(list(warmup)) == 5  # 1, 2 and 4 rows by default, and one of details and of the card.


@pytest.mark.parametrize(
    "flag",
    [
        "max_pixels=0",
        "max_pixels=134217729",
        "max_batch=0",
        "max_batch=65537",
        "max_missing=-0.1",
        "max_missing=1.0",
    ],
)
def test_a_limit_that_is_none(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["imgcap-export", "--workdir=w", "--output_dir=o", f"--{flag}"]) == 2
    assert f"--{flag} is" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_numerics_are_declared(
    precision: str, workdir: Path, data_dir: Path, tmp_path: Path
) -> None:
    from imgcap.cli import evaluate

    # Weights are float32 under every policy, so a run is one of another policy by its config alone.
    run = tmp_path / "run"
    shutil.copytree(workdir, run)
    settings = json.loads((run / "config.json").read_text())
    settings["train"]["precision"] = precision
    (run / "config.json").write_text(json.dumps(settings))
    forget_checksums(run)
    try:
        assert (
            cli.main(
                ["imgcap-export", f"--workdir={run}", f"--output_dir={tmp_path / 'm'}", "--nocheck"]
            )
            == 0
        )
        assert (
            evaluate.main(["e", f"--workdir={run}", f"--data_dir={data_dir}", "--split=dev"]) == 0
        )
    finally:
        keras.config.set_dtype_policy("float32")
    facts = card.read_manifest(tmp_path / "m" / "1")
    assert (
        facts["encoder_numerics"] == precision.removeprefix("mixed_")
        and facts["decoder_numerics"] == "float32"
    )
    # The search does not follow the rounding of the training's precision.
    (high, config), (low, _) = (load_captioner(one) for one in (workdir, run))
    features = (
        np.random.default_rng(0).normal(size=[8, *high.encoder.features_shape]).astype(np.float32)
    )
    found = [
        one.caption_features(tf.constant(features), config.decode).scores for one in (high, low)
    ]
    np.testing.assert_array_equal(*found)
    rows = [json.loads(line) for line in (run / "captions_dev.jsonl").read_text().splitlines()]
    served = tf.saved_model.load(str(tmp_path / "m" / "1"))
    assert caption_split(served, signature.DECODE, data_dir, "dev") == {
        row["image"]: row["caption"] for row in rows
    }


def test_what_is_inside(models: Path, workdir: Path) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    assert (models / "1" / "assets" / "vocab.txt").read_bytes() == (
        workdir / "vocab.txt"
    ).read_bytes()
    made = json.loads((models / "1" / "manifest.json").read_text())
    assert made["decoder_numerics"] == "float32" and made["decode"]["beam_width"] == 3
    warmup = tf.data.TFRecordDataset(
        str(models / "1" / "assets.extra" / "tf_serving_warmup_requests")
    )
    requests = [
        prediction_log_pb2.PredictionLog.FromString(row).predict_log.request
        for row in warmup.as_numpy_iterator()
    ]
    found = [
        (request.model_spec.signature_name, alias, tf.make_ndarray(proto).shape[0])
        for request in requests
        for alias, proto in request.inputs.items()
    ]
    assert found == [
        *((signature.SERVING_DEFAULT, signature.IMAGE_BYTES, rows) for rows in (1, 2, 4, 8)),
        (signature.DECODE_DETAILS, signature.IMAGE_BYTES, 1),
        (signature.DESCRIBE, signature.QUERY, 1),
    ]
    assert not any(
        name.startswith(parity.FORBIDDEN_OPS) for name in parity.count_operations(models / "1")
    )
    assert [path.name for path in models.iterdir()] == ["1"]


def test_versions_never_overwrite(models: Path, workdir: Path, tmp_path: Path) -> None:
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "1" / "saved_model.pb").read_bytes()
    (tmp_path / "7").mkdir()
    (tmp_path / "notes").mkdir()
    flags = [f"--workdir={workdir}", f"--output_dir={tmp_path}", "--nocheck"]
    assert cli.main(["imgcap-export", *flags]) == 0
    assert (tmp_path / "8" / "saved_model.pb").exists()
    assert (tmp_path / "1" / "saved_model.pb").read_bytes() == before
    assert list(versions.find_versions(tmp_path)) == [1, 7, 8]
    assert cli.main(["imgcap-export", *flags, "--keep=2"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["8", "9", "notes"]


ALTERED = [
    (
        "greedy/caption",
        lambda texts: np.full_like(texts, b"?"),
        "greedy/caption of 17 of 17 .*: '.+' became '[?]'",
    ),
    (
        "encode/features",
        lambda values: values * 1.1,
        r"encode/features differs .*by more than .*first: image 0",
    ),
    ("describe/card", lambda texts: np.array([b"{}"]), "the card differs after reloading"),
]
"""An answer, what becomes of it, and what is said of that."""


def test_a_model_that_answers_otherwise_is_not_published(
    reloaded: dict[str, np.ndarray],
    workdir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check, errors = saved_model.check_parity, []

    def check_each(*written: Any) -> None:
        """Checks one export as if each answer in turn had been altered; the last error counts."""
        for change, altered, message in ALTERED:
            answers = {**reloaded, change: altered(reloaded[change])}
            monkeypatch.setattr(parity, "reload_answers", lambda *_, answers=answers: answers)
            with pytest.raises(ExportError, match=message) as refused:
                check(*written)
            errors.append(refused.value)
        raise errors[-1]

    monkeypatch.setattr(saved_model, "check_parity", check_each)
    assert cli.main(["imgcap-export", f"--workdir={workdir}", f"--output_dir={tmp_path}"]) == 1
    for error in errors:
        assert "nothing was published" in str(error) and "\n" not in str(error)
    assert capsys.readouterr().err == f"imgcap-export: error: {errors[-1]}\n"
    assert len(errors) == len(ALTERED) and list(tmp_path.iterdir()) == []


def test_numbers_are_compared_by_hand() -> None:
    live = np.array([-1.0, -np.inf, -3.0])
    parity.compare_numbers("score", live, live + [1e-4, 0, -1e-4], 1e-4)
    for other in ([-1.0, -np.inf, -3.1], [-1.0, -2.0, -3.0], [np.nan, -np.inf, -3.0]):
        with pytest.raises(ExportError, match="score differs after reloading, by more than 0.0003"):
            parity.compare_numbers("score", live, np.array(other), 1e-4)


def test_the_default_is_the_very_graph_of_decode(models: Path, raw_dir: Path) -> None:
    """As a model server reads it, from the file and by a session."""
    image = next((raw_dir / "Images").iterdir()).read_bytes()
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        definitions = tf.compat.v1.saved_model.loader.load(
            session, ["serve"], str(models / "1")
        ).signature_def
        assert (
            definitions[signature.SERVING_DEFAULT]
            == definitions[signature.DECODE]
            != definitions[signature.GREEDY]
        )
        answers = {
            name: session.run(
                definition.outputs[signature.CAPTION].name,
                {definition.inputs["image_bytes"].name: [image]},
            )
            for name, definition in definitions.items()
            if name in (signature.SERVING_DEFAULT, signature.DECODE, signature.GREEDY)
        }
        described = definitions[signature.DESCRIBE]
        (line,) = session.run(
            described.outputs["card"].name, {described.inputs["query"].name: [b""]}
        )
    assert set(answers) == {signature.SERVING_DEFAULT, signature.DECODE, signature.GREEDY}
    assert (
        answers[signature.SERVING_DEFAULT].tolist() == answers[signature.DECODE].tolist() != [b""]
    )
    assert json.loads(line)["version"] == 1


def test_a_fresh_process_asks_every_signature(reloaded: dict[str, np.ndarray]) -> None:
    expected = {f"{name}/{alias}" for name, served in CONTRACT.items() for alias in served.outputs}
    assert set(reloaded) == expected
    assert json.loads(reloaded["describe/card"][0])["version"] == 1


def test_an_operation_a_server_lacks(tmp_path: Path) -> None:
    module = tf.Module()
    module.decode = tf.function(
        lambda image_bytes: tf.py_function(lambda rows: rows, [image_bytes], tf.string),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(ExportError, match="holds EagerPyFunc, which a stock CPU server can't run"):
        parity.refuse_operations(tmp_path)


def test_a_function_for_xla_alone(tmp_path: Path) -> None:
    module = tf.Module()
    module.decode = tf.function(
        lambda features: features + 1.0,
        input_signature=[tf.TensorSpec([None], tf.float32)],
        jit_compile=True,
    )
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(
        ExportError,
        match="holds functions compiled by XLA, which a stock CPU server can't run",
    ):
        parity.refuse_operations(tmp_path)


def test_a_folder_that_can_not_be_written(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    flags = [f"--workdir={workdir}", f"--output_dir={tmp_path / 'file'}", "--nocheck"]
    assert cli.main(["imgcap-export", *flags]) == 1
    error = capsys.readouterr().err
    assert (
        "can't be written (" in error
        and "free the disk or mend the folder" in error
        and error.count("\n") == 1
    )


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["imgcap-export", f"--workdir={tmp_path}", f"--output_dir={tmp_path}/m"]) == 1
    assert "config.json is missing" in capsys.readouterr().err
