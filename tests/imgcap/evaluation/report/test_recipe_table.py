"""The table of scores: which runs share a row, and that nothing else of the file changes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from imgcap.cli.runs import compare
from imgcap.config import Config, ModelConfig, TrainConfig, to_json
from imgcap.errors import ConfigError, DataError, RunError
from imgcap.evaluation.report import recipe_table
from imgcap.evaluation.report.result_files import Evaluation
from tests.support.paths import ROOT

SPLIT = "dev+test"


def write_run(
    workdir: Path,
    *,
    cider: float = 50.0,
    encoder: str = "folder/net.keras",
    beam: int = 3,
    **train: Any,
) -> Path:
    workdir.mkdir()
    model = ModelConfig(encoder=encoder, decoder="attention")
    config = Config(model, TrainConfig(data_dir="data", workdir=str(workdir), **train))
    (workdir / "config.json").write_text(to_json(config))
    decode = {
        "beam_width": beam,
        "length_normalisation": "wu",
        "length_penalty": 0.7,
        "min_length": 0,
        "block_ngrams": 0,
    }
    scores = {"cider": cider, "bleu_4": cider / 2, "decode": decode}
    scores["intervals"] = {
        name: [scores[name] - 3, scores[name] + 3] for name in ("cider", "bleu_4")
    }
    (workdir / f"scores_{SPLIT}.json").write_text(json.dumps(scores))
    return workdir


def rows_of(*workdirs: Path) -> list[tuple[str, ...]]:
    return recipe_table.make_rows(
        [recipe_table.read_scored_run(Evaluation(workdir, SPLIT)) for workdir in workdirs]
    )


def test_one_seed_stands_with_its_interval(tmp_path: Path) -> None:
    assert rows_of(write_run(tmp_path / "run")) == [
        (
            "net",
            "attention",
            "cross-entropy",
            "beam 3, α 0.7",
            SPLIT,
            "0",
            "50.0 [47.0, 53.0]",
            "25.0 [22.0, 28.0]",
        )
    ]


def test_seeds_share_a_row(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / f"run{seed}", cider=cider, seed=seed)
        for seed, cider in enumerate((50.0, 52.0, 57.0))
    ]
    (row,) = rows_of(*runs)
    # Mean 53; deviations -3, -1, 4: variance (9 + 1 + 16) / 2 = 13, root 3.606.
    assert row[recipe_table.KEY :] == ("0, 1, 2", "53.0 ± 3.6", "26.5 ± 1.8")


def test_a_tuned_run_tells_what_came_before(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", encoder="folder/net.keras")
    tuned = write_run(
        tmp_path / "tuned",
        encoder=f"{first}/encoder.keras",
        finetune_from=str(first),
        finetune_blocks=1,
    )
    last = write_run(
        tmp_path / "last",
        encoder=f"{tuned}/encoder.keras",
        finetune_from=str(tuned),
        objective="scst",
        beam=5,
    )
    (row,) = rows_of(last)
    assert row[0] == "net"
    assert row[2] == "cross-entropy → cross-entropy + last block → SCST"
    assert row[3] == "beam 5, α 0.7"
    (first / "config.json").unlink()
    (row,) = rows_of(last)
    assert row[2] == "… → cross-entropy + last block → SCST"


def test_an_ensemble_names_its_decoders_and_seeds(tmp_path: Path) -> None:
    model = dataclasses.asdict(ModelConfig(decoder="attention"))

    def write_ensemble(name: str, seeds: tuple[int, ...], mean_of: str, *weights: float) -> Path:
        run = write_run(tmp_path / name, objective="scst")
        members = [
            {"run": f"run{seed}", "step": 5, "seed": seed, "weight": weight, "model": model}
            for seed, weight in zip(seeds, weights, strict=True)
        ]
        tree = {"ensemble": {"mean_of": mean_of, "members": members}}
        (run / "run.json").write_text(json.dumps(tree))
        return run

    runs = [
        write_ensemble("one", (0, 1), "log", 0.5, 0.5),
        write_ensemble("two", (0, 2), "log", 0.5, 0.5),
        write_ensemble("other", (0, 1), "probability", 0.25, 0.75),
    ]
    pair, other = rows_of(*runs)
    assert (pair[1], pair[2], pair[5]) == ("ensemble: 2 × attention", "SCST", "0+1, 0+2")
    mean = "ensemble: 2 × attention, mean of probabilities, weights 0.25 0.75"
    assert (other[1], other[5]) == (mean, "0+1")
    with pytest.raises(ConfigError, match="are one recipe with one seed"):
        rows_of(runs[0], write_ensemble("again", (0, 1), "log", 0.5, 0.5))


def test_a_distilled_run_does_not_name_its_teacher(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / f"run{seed}", seed=seed, objective="distill", teacher=f"runs/together{seed}"
        )
        for seed in range(2)
    ]
    (row,) = rows_of(*runs)
    assert row[2] == "distilled"


def test_unlike_runs_do_not_share_a_row(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first")
    with pytest.raises(ConfigError, match="different --dropout"):
        other = write_run(tmp_path / "other", seed=1)
        tree = json.loads((other / "config.json").read_text())
        tree["model"]["dropout"] = 0.1
        (other / "config.json").write_text(json.dumps(tree))
        rows_of(first, other)
    with pytest.raises(ConfigError, match="different --epochs"):
        rows_of(first, write_run(tmp_path / "longer", seed=1, epochs=20))
    with pytest.raises(ConfigError, match="one recipe with one seed"):
        rows_of(first, write_run(tmp_path / "again"))


def test_a_name_can_not_break_the_table(tmp_path: Path) -> None:
    (row,) = rows_of(write_run(tmp_path / "run", encoder="a|b.keras"))
    assert row[0] == "a/b"
    (row,) = rows_of(write_run(tmp_path / "tag", encoder="<b>\nc.keras"))
    assert row[0] == "&lt;b&gt; c"


def test_random_and_trained_encoders_have_rows_of_their_own(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / weights, encoder="densenet201") for weights in ("imagenet", "none")
    ]
    tree = json.loads((runs[1] / "config.json").read_text())
    tree["model"]["encoder_weights"] = "none"
    (runs[1] / "config.json").write_text(json.dumps(tree))
    assert [row[0] for row in rows_of(*runs)] == ["densenet201", "densenet201, weights none"]


def test_how_a_run_was_computed_is_no_part_of_its_recipe(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "one"),
        write_run(tmp_path / "two", seed=1, log_every=7, strategy="mirrored"),
    ]
    assert len(rows_of(*runs)) == 1


def table_file(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "README.md"
    head = [f"| {' | '.join(recipe_table.HEADS)} |", "|" + "---|" * len(recipe_table.HEADS)]
    inside = "\n".join([recipe_table.BEGIN, *head, *lines, recipe_table.END])
    path.write_text(f"# Title\n\n{inside}\n\nafter\n", encoding="utf-8")
    return path


def test_rows_are_replaced_or_added_and_others_stay(tmp_path: Path) -> None:
    open_row = "| DenseNet201 | any | | | | | not run | – |"
    old = "| net | attention | cross-entropy | beam 3, α 0.7 | dev+test | 0 | 1.0 | 2.0 |"
    other_split = "| net | attention | cross-entropy | beam 3, α 0.7 | test | 0 | 3.0 | 4.0 |"
    path = table_file(tmp_path, open_row, old, other_split)
    update = rows_of(write_run(tmp_path / "run"), write_run(tmp_path / "wide", beam=5))
    recipe_table.update_file(path, update)
    text = path.read_text(encoding="utf-8")
    lines = text.split(recipe_table.BEGIN)[1].split(recipe_table.END)[0].strip().splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [
        "DenseNet201",
        "net",
        "net",
        "net",
    ]
    assert "50.0 [47.0, 53.0]" in lines[3] and lines[4] == other_split and "beam 5" in lines[5]
    assert text.startswith("# Title\n\n<!--") and text.endswith("-->\n\nafter\n")
    recipe_table.update_file(path, update)
    assert path.read_text(encoding="utf-8") == text


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (tmp_path / "plain.md").write_text("no table\n")
    other = f"{recipe_table.BEGIN}\n| a | b |\n|---|---|\n| 1 | 2 |\n{recipe_table.END}\n"
    (tmp_path / "other.md").write_text(other)
    with pytest.raises(ConfigError, match="other.md holds another table"):
        recipe_table.update_file(tmp_path / "other.md", rows_of(run))
    torn = table_file(tmp_path, "| only one cell |")
    with pytest.raises(ConfigError, match="holds another table"):
        recipe_table.update_file(torn, rows_of(run))
    assert (
        "only one cell" in torn.read_text(encoding="utf-8")
        and (tmp_path / "other.md").read_text() == other
    )
    for table in (tmp_path / "none.md", tmp_path / "plain.md"):
        with pytest.raises(ConfigError, match=str(table)):
            recipe_table.update_file(table, [])
    with pytest.raises(DataError, match="imgcap-evaluate --workdir=.* --split=test"):
        recipe_table.read_scored_run(Evaluation(run, "test"))
    (run / "scores_test.json").write_text("[]")
    with pytest.raises(DataError, match="is damaged"):
        recipe_table.read_scored_run(Evaluation(run, "test"))
    with pytest.raises(RunError, match="name a run directory"):
        recipe_table.read_scored_run(Evaluation(tmp_path / "nowhere", "test"))


def test_command_writes_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = []
    for seed in (0, 1):
        run = write_run(tmp_path / f"run{seed}", seed=seed)
        lines = [
            {"image": f"{at}.jpg", "caption": "a dog", "references": ["a dog runs"]}
            for at in range(4)
        ]
        (run / f"captions_{SPLIT}.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in lines)
        )
        names.append(str(run))
    path = table_file(tmp_path)
    arguments = ["imgcap-compare", *names, f"--split={SPLIT}"]
    assert compare.main([*arguments, f"--table={path}"]) == 0
    assert f"updated the table in {path}" in capsys.readouterr().out
    assert "| 0, 1 | 50.0 ± 0.0 | 25.0 ± 0.0 |" in path.read_text(encoding="utf-8")
    assert compare.main([*arguments, f"--table={tmp_path}/none.md"]) == 2
    assert "none.md can't be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "cell"),
    [
        ({"search": "diverse", "diversity": 0.5}, "diverse 3, diversity 0.5, α 0.7"),
        (
            {"search": "sample", "num_samples": 5, "temperature": 0.7, "top_p": 0.9},
            "best of 5 samples, temperature 0.7, top p 0.9, α 0.7",
        ),
        (
            {"search": "mbr", "num_samples": 20, "temperature": 0.7, "top_p": 1.0},
            "of 3 beams the most like 20 samples, temperature 0.7, top p 1, α 0.7",
        ),
    ],
    ids=["diverse", "sample", "mbr"],
)
def test_the_search_of_a_row(tmp_path: Path, options: dict[str, Any], cell: str) -> None:
    run = write_run(tmp_path / "run")
    scores = json.loads((run / f"scores_{SPLIT}.json").read_text())
    scores["decode"] |= options
    (run / f"scores_{SPLIT}.json").write_text(json.dumps(scores))
    assert rows_of(run)[0][recipe_table.HEADS.index("search")] == cell


def test_heads_match_the_rows(tmp_path: Path) -> None:
    run = recipe_table.read_scored_run(Evaluation(write_run(tmp_path / "run"), SPLIT))
    assert len(recipe_table.make_rows([run])[0]) == len(recipe_table.HEADS)
    assert {field.name for field in dataclasses.fields(TrainConfig)} >= set(
        recipe_table._NO_PART_OF_A_RECIPE
    ) - {"encoder", "encoder_weights"}


def test_the_page_of_recipes_holds_such_a_table(tmp_path: Path) -> None:
    page = tmp_path / "recipes.md"
    before = (ROOT / "docs" / "train" / "recipes.md").read_text(encoding="utf-8")
    page.write_text(before, encoding="utf-8")
    recipe_table.update_file(page, [])
    assert page.read_text(encoding="utf-8") == before
