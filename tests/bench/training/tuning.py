"""Fine-tuning on images that are decoded meanwhile, against one batch that is held in memory."""

import dataclasses

from imgcap.data.batches import DecodedImages, Position, training_batches
from tests.bench.table import Row
from tests.bench.timing import clocked, take_turns
from tests.bench.training.workload import Workload, make_step, train_on

READ, HELD = "read", "held"


def tuning_row(work: Workload, repetitions: int) -> Row:
    """Times fine-tuning of the encoder's last block, with an input pipeline and without.

    Args:
        work: has image shards and encoder, whose last block is trainable afterwards.
        repetitions: turns that both have.
    """
    train = dataclasses.replace(work.config.train, cache_features=False, finetune_blocks=1)
    examples = DecodedImages(work.images_per_batch(), work.config.model.image_size, augment=True)
    epoch = training_batches(work.image_shards(), examples, Position())
    step, steps = make_step(work, train), len(list(epoch))
    held = [next(iter(epoch))] * steps
    turns = {
        READ: clocked(lambda: train_on(step, epoch)),
        HELD: clocked(lambda: train_on(step, held)),
    }
    medians = take_turns(turns, repetitions)
    images = steps * work.images_per_batch()
    note = (
        f"{images / medians[READ]:.1f} against {images / medians[HELD]:.1f} images/s, last block "
        "of the encoder"
    )
    return Row(
        "fine-tuning on images against a constant batch",
        medians[HELD] / medians[READ],
        "≥ 0.95",
        note,
    )
