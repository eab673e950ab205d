"""The length of a run by the size of its data: epochs, and the patience of early stopping."""

import dataclasses

from imgcap.config import Config
from imgcap.data.manifest import Manifest
from imgcap.training.inputs import examples

USUAL_EPOCHS = 12
"""Epochs if the data are many; more only raise the dev CIDEr of Flickr8k by chance."""

ENOUGH_STEPS = 600
"""Steps that few data get by more epochs: 200 captions in batches of 64 make 4 an epoch."""

USUAL_PATIENCE = 4
"""Epochs without a better dev CIDEr that a run of `USUAL_EPOCHS` waits for: a third of them."""


def choose_length(config: Config, manifest: Manifest) -> Config:
    """Chooses the epochs and the patience that were left to the size of the data.

    Args:
        config: as given.
        manifest: of the image shards.

    Returns:
        The config with numbers in their place, the same whenever the same data are given; a run
        directory keeps them.
    """
    train = config.train
    planned = examples.plan_data(train, config.model.image_size, manifest)
    epochs = train.epochs or max(USUAL_EPOCHS, -(-ENOUGH_STEPS // planned.steps_per_epoch))
    patience = train.patience
    if patience < 0:
        patience = max(USUAL_PATIENCE, epochs * USUAL_PATIENCE // USUAL_EPOCHS)
    chosen = dataclasses.replace(train, epochs=epochs, patience=patience)
    return dataclasses.replace(config, train=chosen)
