"""The training loop: epochs, checkpoints, and selection by the CIDEr of searched captions."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import tensorflow as tf

from imgcap.config import Config, ShowConfig
from imgcap.data import data_service, shards
from imgcap.data.manifest import shard_paths
from imgcap.errors import DataError
from imgcap.evaluation.generate import best_captions, generate, pair_captions
from imgcap.evaluation.scores import score_captions
from imgcap.files.names import shell_flag
from imgcap.host.progress import Progress
from imgcap.run import directory
from imgcap.run.checkpoints import Progression
from imgcap.run.metrics import METRICS
from imgcap.training import trainer
from imgcap.training.inputs import examples
from imgcap.training.machines.interruption import Preempted, stop_on_sigterm
from imgcap.training.machines.strategy import set_up
from imgcap.training.machines.workers import Workers
from imgcap.training.optimizer import averaged_weights
from imgcap.training.trainer import Prepared, Run
from imgcap.training.watching import curves, profiling, tensorboard
from imgcap.training.watching.profiling import StepProfiler
from imgcap.training.watching.selection import choose_best, describe_best, with_evaluation
from imgcap.training.watching.tensorboard import Board
from imgcap.training.watching.training_log import TrainingLog
from imgcap.training.watching.warning_signs import score_constant, warn_of_constant

GO_ON_WITHOUT = (
    f"{shards.PREPARE_AGAIN}, or go on without the training records after the damage by "
    "--skip_bad_records"
)


def train(config: Config, show: ShowConfig | None = None) -> Progression:
    """Trains, or goes on with, the run in `config.train.workdir`.

    Args:
        config: validated settings.
        show: validated too; what to show of this call.

    Returns:
        Where the run ended.

    Raises:
        ConfigError: an encoder or its weights cannot be loaded, or the strategy or a data service
            cannot be used.
        DataError: the data is missing or damaged.
        RunError: the run directory is another run's, busy, or cannot be written; or the loss is no
            number.
        Preempted: SIGTERM came; a checkpoint was written.
    """
    prepared, workdir = trainer.load_data(config), Path(config.train.workdir)
    data_service.refuse_absent(config.train.data_service)
    strategy = set_up(config.train)
    workers = Workers(strategy)
    with ExitStack() as held, workers.only_chief_prints(), workers.loss_of_peer_told():
        workers.on_chief(lambda: held.enter_context(directory.locked(workdir)))
        stop = held.enter_context(stop_on_sigterm())
        prepared = trainer.open_run(prepared, workers)
        if not config.train.epochs:
            print(f"epochs: {prepared.config.train.epochs}, by the size of the data")
        with shards.damage_refused(_image_shards(prepared)):
            run, progression = trainer.start(prepared, strategy, workers, stop)
        progression = _train_on_data(run, progression, show or ShowConfig())
        print(
            f"wrote {workdir}; next: imgcap-evaluate {shell_flag('workdir', workdir)} "
            f"{shell_flag('data_dir', config.train.data_dir)}"
        )
        return progression


def _image_shards(prepared: Prepared) -> list[str]:
    data_dir = prepared.config.train.data_dir
    return [
        path
        for split in (examples.TRAIN, examples.DEV)
        for path in shard_paths(data_dir, prepared.manifest, split)
    ]


def _train_on_data(run: Run, progression: Progression, show: ShowConfig) -> Progression:
    settings = run.config.train
    read = [*run.data.shards(examples.TRAIN), *run.data.shards(examples.DEV)]
    try:
        with shards.damage_refused(read, GO_ON_WITHOUT):
            return _train_and_show(run, progression, show)
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        raise (
            data_service.as_data_error(error, settings.data_service, settings.data_dir) or error
        ) from None


def _train_and_show(run: Run, progression: Progression, show: ShowConfig) -> Progression:
    chief, events = run.workers.is_chief, run.workdir / tensorboard.FOLDER
    if show.tensorboard and chief:
        run = run._replace(board=Board(events, examples.samples(run.data)))
        print(tensorboard.remark(events))
    with StepProfiler(
        run.workdir / profiling.FOLDER, show.profiled_span() if chief else None
    ) as profiler:
        progression = _train_epochs(run, progression, profiler)
    if chief:
        metrics = curves.read_metrics(run.workdir / METRICS)
        print(curves.make_table(metrics))
        curves.write_curves(run.workdir / curves.CURVES, metrics)
    return progression


def _train_epochs(run: Run, progression: Progression, profiler: StepProfiler) -> Progression:
    settings, last = run.config.train, run.last_step()
    while progression.epoch < settings.epochs and progression.step < last:
        if settings.patience and progression.epochs_since_best >= settings.patience:
            print(f"stopped: no better epoch in {settings.patience} epochs")
            break
        started = time.monotonic()
        progression = _train_epoch(run, progression, profiler)
        progression = _evaluate_dev(run, progression, started)
        run.save(progression)
    print(f"{describe_best(progression)}: its checkpoint is evaluated and exported")
    return progression


def _train_epoch(run: Run, start: Progression, profiler: StepProfiler) -> Progression:
    settings, epoch, here = run.config.train, start.epoch + 1, start
    steps = _steps_of_epoch(run, start)
    log = TrainingLog(
        run.write_step,
        settings.log_every,
        run.workdir,
        last_step=run.last_step(),
        captions_per_image=run.data.captions_per_image(),
        rewarded=settings.objective == "scst",
    )
    batches = examples.distribute(
        run.strategy, lambda rows: examples.training_dataset(settings, run.data, start, rows)
    )
    with Progress(f"epoch {epoch}/{settings.epochs}", steps, "steps") as progress:
        progress.skip(start.batch)
        for batch in log.timed(batches):
            with profiler.step(here.step + 1):
                totals = run.step(batch, tf.constant(here.step, tf.int32))
            here = dataclasses.replace(here, step=here.step + 1, batch=here.batch + 1)
            log.add(totals, here.step, epoch)
            progress.advance(1, log.note)
            _save_if_due(run, here, log)
            if here.step >= run.last_step():
                break
    log.flush(here.step, epoch)
    if here.batch < steps and here.step < run.last_step():
        # Fewer than were there when it began: something broke meanwhile.
        _steps_of_epoch(run, here)
        if not run.config.train.skip_bad_records:
            raise DataError(
                f"{run.config.train.data_dir}: its shards hold only {here.batch} of {steps} "
                f"batches: a shard is cut off: {shards.PREPARE_AGAIN}"
            )
    return dataclasses.replace(here, epoch=epoch, batch=0)


def _steps_of_epoch(run: Run, here: Progression) -> int:
    """Counts the global batches of the current epoch, and says which images are left out of it."""
    if not run.config.train.skip_bad_records:
        return run.data.steps_per_epoch
    found = examples.survey(run.config.train, run.data)
    if found.lost:
        images = run.data.manifest.images[examples.TRAIN]
        run.write(step=here.step, epoch=here.epoch + 1, skipped_records=found.lost)
        named = f": {', '.join(found.problems)}" if found.problems else ""
        print(
            f"epoch {here.epoch + 1}: left out {found.lost} of {images} training images{named}",
            flush=True,
        )
    if not found.steps:
        raise DataError(
            f"{run.config.train.data_dir}: no training record can be read: run imgcap-prepare again"
        )
    return found.steps


def _save_if_due(run: Run, here: Progression, log: TrainingLog) -> None:
    every = run.config.train.checkpoint_every
    # Asked at every step: workers that stop at different steps would wait for each other for ever.
    stopping = run.workers.any(run.stop.received)
    if stopping or (every and here.step % every == 0):
        # First the loss is looked at: a run that has become NaN must not replace a good checkpoint.
        log.flush(here.step, here.epoch + 1)
        run.save(here)
    if stopping:
        raise Preempted(
            f"stopped by SIGTERM at step {here.step}, checkpoint written: the same command goes on"
        )


def _evaluate_dev(run: Run, progression: Progression, started: float) -> Progression:
    """Captions and scores the dev images, tells the scores, and returns where the run stands then.

    Args:
        run: its weights caption.
        progression: where the run stands.
        started: when the epoch began, seconds of `time.monotonic`.
    """
    captions = _caption_dev(run)
    tokenizer = run.captioner.vocabulary.tokenizer
    scores = _score_dev(run.data.references, captions, tokenizer)
    chosen = with_evaluation(progression, scores["cider"])
    best, smoothed = choose_best(chosen.evaluations)
    run.write(
        step=progression.step,
        epoch=progression.epoch,
        dev_cider=scores["cider"],
        dev_bleu_4=scores["bleu_4"],
        best_epoch=best.epoch,
        best_smoothed_cider=smoothed,
        seconds=time.monotonic() - started,
    )
    if run.board:
        run.board.captions(progression.step, captions[: examples.SAMPLES])
    print(
        f"epoch {progression.epoch}: dev CIDEr {scores['cider']:.1f}, BLEU-4 "
        f"{scores['bleu_4']:.1f}; best so far epoch {best.epoch}, smoothed CIDEr {smoothed:.1f}",
        flush=True,
    )
    _warn_of_constant(run, progression, scores)
    return chosen


def _warn_of_constant(run: Run, progression: Progression, scores: Mapping[str, Any]) -> None:
    """Warns at the first evaluation after half of the run if one caption for all scores higher."""
    last, before = run.last_step(), progression.step - run.data.steps_per_epoch
    if before < last / 2 <= progression.step:
        constant = scores["constant_caption"]["caption"]
        captions, references = pair_captions(
            run.data.references, [constant] * len(run.data.references)
        )
        floor = score_constant(captions, references, run.captioner.vocabulary.tokenizer)
        warn_of_constant(
            max(scores["cider"], progression.best_cider), floor, progression.step, last
        )


def _caption_dev(run: Run) -> list[str]:
    """Captions the dev images, with the moving average of the weights if one is kept."""
    images = len(run.data.references)
    with averaged_weights(run.optimizer, run.captioner.trainable_variables):
        dataset = examples.distribute(
            run.strategy, lambda rows: examples.dev_dataset(run.data, rows)
        )
        generated = generate(run.caption, dataset, images, run.config.decode)
    return best_captions(run.captioner, generated)


def _score_dev(
    references: Sequence[shards.Reference], captions: Sequence[str], tokenizer: str
) -> dict[str, Any]:
    pairs = pair_captions(references, captions)
    return score_captions(*pairs, bootstrap_samples=0, tokenizer=tokenizer)
