"""The train loop by its command line: it learns, resumes, refuses, and does not hang on the number
of replicas.
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from imgcap.cli.train import main as train_main
from imgcap.errors import RunError
from imgcap.run import checkpoints, directory
from imgcap.run.restore import load_captioner, restore_step
from tests.support.sharing import forget_checksums


def train(workdir: Path, flags: list[str], *more: str) -> int:
    return train_main(["imgcap-train", f"--workdir={workdir}", *flags, *more])


def lines(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def losses(workdir: Path) -> list[float]:
    return [line["loss"] for line in lines(workdir) if "loss" in line]


def weights(workdir: Path, step: int | None = None) -> list[np.ndarray]:
    captioner, _ = load_captioner(workdir)
    if step is not None:
        restore_step(workdir, captioner, step)
    return captioner.decoder.get_weights()


def test_a_run_leaves_what_the_next_steps_need(workdir: Path) -> None:
    found = lines(workdir)
    assert {"step", "epoch", "loss"} <= found[0].keys()
    assert [line["step"] for line in found if "loss" in line] == list(
        range(1, len(losses(workdir)) + 1)
    )
    assert losses(workdir)[-1] < 0.75 * losses(workdir)[0]
    assert [line["epoch"] for line in found if "dev_cider" in line] == [1, 2]
    assert {path.name for path in workdir.iterdir()} >= {
        "config.json",
        "run.json",
        "vocab.txt",
        "document_frequencies.npz",
        "encoder.keras",
        "encoder",
        "checkpoints",
        "metrics.jsonl",
    }


def test_two_replicas_are_one(train_flags: list[str], tmp_path: Path) -> None:
    flags = [*train_flags, "--dropout=0", "--epochs=2", "--deterministic"]
    assert train(tmp_path / "one", flags) == 0
    assert train(tmp_path / "two", flags, "--strategy=mirrored") == 0
    np.testing.assert_allclose(losses(tmp_path / "one"), losses(tmp_path / "two"), rtol=1e-4)
    ciders = [
        [line["dev_cider"] for line in lines(tmp_path / run) if "dev_cider" in line]
        for run in ("one", "two")
    ]
    assert ciders[0] == ciders[1]


# 3 micro-batches of 8 captions or 2 images: some are padded, some are nothing but padding.
@pytest.mark.parametrize(
    "flags",
    [
        ["--cache_features", "--strategy=mirrored"],
        [
            "--nocache_features",
            "--finetune_blocks=1",
            "--batch_size=10",
            "--noaugment",
            "--recompute",
            "--jit",
        ],
    ],
)
def test_micro_batches_are_the_batch(
    train_flags: list[str], tmp_path: Path, compiling_for_cpus: None, flags: list[str]
) -> None:
    flags = [
        *train_flags,
        *flags,
        "--dropout=0",
        "--max_steps=6",
        "--schedule=constant",
        "--clip_norm=0.5",
    ]
    assert (
        train(tmp_path / "whole", [flag for flag in flags if flag not in ("--recompute", "--jit")])
        == 0
    )
    assert train(tmp_path / "cut", [*flags, "--accumulate_steps=3"]) == 0
    np.testing.assert_allclose(losses(tmp_path / "cut"), losses(tmp_path / "whole"), rtol=1e-4)
    for a, b in zip(weights(tmp_path / "cut"), weights(tmp_path / "whole"), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)


def test_a_run_that_stopped_between_epochs_goes_on(train_flags: list[str], tmp_path: Path) -> None:
    flags = [*train_flags, "--deterministic", "--schedule=constant"]
    assert train(tmp_path / "whole", flags) == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    steps = sorted(int(path.name) for path in (tmp_path / "resumed" / "checkpoints").iterdir())
    assert len(steps) == 2
    shutil.rmtree(tmp_path / "resumed" / "checkpoints" / str(steps[-1]))
    assert train(tmp_path / "resumed", flags) == 0
    assert losses(tmp_path / "resumed") == losses(tmp_path / "whole")
    for a, b in zip(weights(tmp_path / "resumed"), weights(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_on_two_views(train_flags: list[str], tmp_path: Path) -> None:
    flags = [*train_flags, "--cached_views=2", f"--cache_dir={tmp_path / 'cache'}", "--max_steps=2"]
    assert train(tmp_path / "run", flags) == 0
    assert len(losses(tmp_path / "run")) == 2
    assert [line for line in lines(tmp_path / "run") if "dev_cider" in line]
    assert train(tmp_path / "run", [*flags, "--cached_views=1"]) == 1


def test_training_on_images_with_the_encoder(train_flags: list[str], tmp_path: Path) -> None:
    flags = [*train_flags, "--nocache_features", "--finetune_blocks=1", "--max_steps=3"]
    assert train(tmp_path / "run", flags) == 0
    assert len(losses(tmp_path / "run")) == 3
    captioner, config = load_captioner(tmp_path / "run")
    started = tf.keras.models.load_model(config.model.encoder).get_weights()
    moved = [
        np.abs(a - b).max()
        for a, b in zip(captioner.encoder.network.get_weights(), started, strict=True)
    ]
    assert min(moved) > 0


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--units=25", "was trained with --units=24 (now 25): give these, or a new --workdir"),
        ("--batch_size=9", "was trained with --batch_size=8 (now 9)"),
    ],
)
def test_a_workdir_of_another_config(
    workdir: Path,
    train_flags: list[str],
    flag: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (workdir / "metrics.jsonl").read_bytes()
    assert train(workdir, train_flags, flag) == 1
    assert message in capsys.readouterr().err
    assert (workdir / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("number", [None, 1, 3])
def test_a_run_of_another_format(
    workdir: Path,
    train_flags: list[str],
    tmp_path: Path,
    number: int | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = shutil.copytree(workdir, tmp_path / "run")
    made = json.loads((copy / "run.json").read_text())
    assert made.pop("format") == 2
    kept = made if number is None else {**made, "format": number}
    (copy / "run.json").write_text(json.dumps(kept))
    forget_checksums(copy)
    message = (
        f"{copy}/run.json has format {number or 1}, this version of imgcap reads format 2: train "
        "again into a new --workdir, or use the version that wrote it"
    )
    with pytest.raises(RunError, match=re.escape(message)):
        load_captioner(copy)
    assert train(copy, train_flags) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_workdir_of_another_vocabulary(
    workdir: Path,
    train_flags: list[str],
    raw_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from imgcap.cli import prepare

    flags = [f"--raw_dir={raw_dir}", f"--output_dir={tmp_path}", "--min_count=30", "--num_shards=2"]
    assert prepare.main(["imgcap-prepare", *flags]) == 0
    assert train(workdir, train_flags, f"--data_dir={tmp_path}") == 1
    assert "run.json: the run's vocabulary has fingerprint" in capsys.readouterr().err


def test_a_vocabulary_that_was_edited(
    data_dir: Path, train_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data_dir, tmp_path / "data")
    words = (tmp_path / "data" / "vocab.txt").read_text()
    (tmp_path / "data" / "vocab.txt").write_text(words + "zebra\n")
    assert train(tmp_path / "run", train_flags, f"--data_dir={tmp_path / 'data'}") == 1
    error = capsys.readouterr().err
    assert "vocab.txt has fingerprint" in error and "run imgcap-prepare again" in error
    assert error.count("\n") == 1


def test_a_truncated_shard(
    data_dir: Path, train_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("features"))
    shard = next((tmp_path / "data").glob("train-*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    for more in ([], ["--nocache_features"]):
        assert (
            train(tmp_path / "run", [*train_flags, *more], f"--data_dir={tmp_path / 'data'}") == 1
        )
        last = capsys.readouterr().err.splitlines()[-1]
        assert (
            last.startswith("imgcap-train: error: ")
            and "damaged" in last
            and "run imgcap-prepare" in last
        )
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stored", [True, False])
def test_a_shard_that_goes_bad_mid_epoch(
    data_dir: Path,
    train_flags: list[str],
    tmp_path: Path,
    stored: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("features"))
    flags = [
        *train_flags,
        f"--data_dir={tmp_path / 'data'}",
        "" if stored else "--nocache_features",
        "--patience=0",
    ]
    flags = [flag for flag in flags if flag]
    assert train(tmp_path / "run", flags, "--epochs=1", "--schedule=constant") == 0
    folder = tmp_path / "data" / "features" if stored else tmp_path / "data"
    shard = next(folder.rglob("train-00002-*"))
    whole = shard.read_bytes()
    rows = list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
    # A byte in the middle of the fifth record of eight.
    place = whole.index(rows[4]) + len(rows[4]) // 2
    shard.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    before = {
        path: path.read_bytes()
        for path in (tmp_path / "run" / "checkpoints").rglob("*")
        if path.is_file()
    }
    config = (tmp_path / "run" / "config.json").read_text().replace('"epochs": 1', '"epochs": 3')
    (tmp_path / "run" / "config.json").write_text(config)
    forget_checksums(tmp_path / "run")
    more = ["--epochs=3", "--schedule=constant"]
    assert train(tmp_path / "run", flags, *more) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert (
        f"{shard} after record 4 (corrupted record at " in last and "by --skip_bad_records" in last
    )
    assert all(path.read_bytes() == content for path, content in before.items())
    assert train(tmp_path / "run", flags, *more, "--skip_bad_records") == 0
    said = capsys.readouterr().out
    assert f"epoch 2: left out 4 of 32 training images: {shard} after record 4" in said
    assert [
        line["skipped_records"] for line in lines(tmp_path / "run") if "skipped_records" in line
    ] == [4, 4]
    assert [line["epoch"] for line in lines(tmp_path / "run") if "dev_cider" in line] == [1, 2, 3]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--precision=half"], "value should be one of <float32|mixed_float16|mixed_bfloat16>"),
        (["--batch_size=0"], "--batch_size=0 is below the least value, 1"),
        (
            ["--finetune_blocks=1"],
            "--finetune_blocks=1 trains the encoder, so its features can't be stored",
        ),
        (
            ["--random_crop=0.5"],
            "--random_crop=0.5 of stored features needs views for the crops: give --cached_views",
        ),
        (["--cached_views=3"], "--cached_views=3 stores random crops: give --random_crop too"),
        (
            ["--nocache_features", "--cached_views=2"],
            "--cached_views=2 is about stored features: give --cache_features",
        ),
        (
            ["--accumulate_steps=9"],
            "--accumulate_steps=9 cuts --batch_size=8 into less than one caption each",
        ),
        (
            ["--recompute"],
            "--recompute saves memory if the encoder trains: give --finetune_blocks too",
        ),
        (
            ["--nocache_features", "--finetune_blocks=-1", "--batch_norm=update", "--recompute"],
            "--recompute would change what --batch_norm=update learns",
        ),
        (
            [
                "--nocache_features",
                "--finetune_blocks=-1",
                "--batch_norm=update",
                "--accumulate_steps=2",
            ],
            "--accumulate_steps would change what --batch_norm=update learns",
        ),
        (["--cached_views=17"], "--cached_views=17 is above the greatest value, 16"),
        (
            ["--nocache_features", "--batch_norm=update"],
            "--batch_norm=update changes a frozen encoder",
        ),
        (["--strategy=multi_worker"], "--strategy=multi_worker needs TF_CONFIG"),
        (
            ["--strategy=mirrored", "--batch_size=9"],
            "--batch_size=9 can't be split evenly over 2 replicas",
        ),
        (["--encoder=resnet1"], "--encoder=resnet1 is no .keras file and none of"),
        (["--no_such_flag"], "Unknown command line flag 'no_such_flag'"),
        (["extra"], "unexpected argument 'extra'"),
    ],
)
def test_wrong_flags_end_before_any_work(
    train_flags: list[str],
    tmp_path: Path,
    flags: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(tmp_path / "run", train_flags, *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_file_that_is_no_encoder_leaves_no_run(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.keras").write_text("no model")
    flags = [f"--data_dir={data_dir}", f"--encoder={tmp_path}/mine.keras", "--strategy=one_device"]
    assert train(tmp_path / "run", flags) == 2
    error = capsys.readouterr().err
    assert f"--encoder={tmp_path}/mine.keras is no Keras model that can be loaded" in error
    assert error.count("\n") == 1
    assert not directory.is_run(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_a_second_process_is_refused(
    workdir: Path, train_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with directory.locked(workdir):
        assert train(workdir, train_flags) == 1
    assert "is in use by another process" in capsys.readouterr().err


def test_a_loss_that_is_no_number(
    train_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", train_flags, "--learning_rate=1e38", "--clip_norm=0") == 1
    assert "the loss is not a number at step" in capsys.readouterr().err


def test_half_a_checkpoint_is_never_seen(workdir: Path, tmp_path: Path) -> None:
    shutil.copytree(workdir, tmp_path / "run")
    last = checkpoints.latest(workdir)
    (tmp_path / "run" / "checkpoints" / f"999{checkpoints.UNFINISHED}").mkdir()
    assert checkpoints.latest(tmp_path / "run") == last
    step = tmp_path / "run" / "checkpoints" / str(last.step)
    data = step / "weights.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-50])
    decoder = checkpoints.tf_variables(load_captioner(workdir)[0].decoder.variables)
    with pytest.raises(
        RunError, match=r"weights can't be read into this model .*remove this checkpoint"
    ):
        checkpoints.restore(tmp_path / "run", last.step, {"decoder": decoder})


def test_tuning_starts_from_the_best_of_another_run(
    workdir: Path, train_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        f"--finetune_from={workdir}",
        "--nocache_features",
        "--finetune_blocks=1",
        "--max_steps=2",
    ]
    still = ["--learning_rate=1e-12", "--units=77"]
    assert train(tmp_path / "tuned", [*train_flags, *flags, *still]) == 0
    base, tuned = load_captioner(workdir)[0], load_captioner(tmp_path / "tuned")[0]
    for a, b in zip(base.decoder.get_weights(), tuned.decoder.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    for a, b in zip(
        base.encoder.network.get_weights(), tuned.encoder.network.get_weights(), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-9)
    capsys.readouterr()
    assert train(tmp_path / "none", [*train_flags, f"--finetune_from={tmp_path / 'nowhere'}"]) == 1
    assert (
        "nowhere/config.json is missing: give --finetune_from a directory"
        in capsys.readouterr().err
    )


def test_the_average_of_the_weights_captions(train_flags: list[str], tmp_path: Path) -> None:
    flags = [*train_flags, "--deterministic", "--max_steps=3", "--schedule=constant"]
    each = ["--checkpoint_every=1", "--keep_checkpoints=3"]
    assert train(tmp_path / "plain", flags, *each) == 0
    assert train(tmp_path / "averaged", flags, "--ema_momentum=0.2") == 0
    first, second, third = (weights(tmp_path / "plain", step) for step in (1, 2, 3))
    for a, b, c, averaged in zip(first, second, third, weights(tmp_path / "averaged"), strict=True):
        # The momentum grows: 0, then 2/11, then 0.2, which is smaller than 3/12.
        expected = 2 / 11 * a + 9 / 11 * b
        np.testing.assert_allclose(averaged, 0.2 * expected + 0.8 * c, atol=1e-6)
