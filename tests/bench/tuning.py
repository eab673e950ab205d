"""Fine-tuning on images that are decoded as it goes, against one batch that is there already."""

import dataclasses

from imgcap.data import batches
from tests.bench.measurement_table import Row
from tests.bench.turns import take_turns
from tests.bench.workload import Workload, make_step, train_on

READ, HELD = "read", "held"


def tuning_row(work: Workload, repetitions: int) -> Row:
    """Images a second with the encoder's last block in training.

    Args:
        work: has image shards and encoder; its last block trains afterwards.
        repetitions: turns that both have.
    """
    train = dataclasses.replace(work.config.train, cache_features=False, finetune_blocks=1)
    epoch = batches.training_images(
        work.image_shards(),
        images=work.images_per_batch(),
        image_size=work.config.model.image_size,
        augment=True,
        seed=0,
        epoch=0,
    )
    step, steps = make_step(work, train), len(list(epoch))
    held = [next(iter(epoch))] * steps
    medians = take_turns(
        {READ: lambda: train_on(step, epoch), HELD: lambda: train_on(step, held)}, repetitions
    )
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
