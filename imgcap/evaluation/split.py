"""The captions that a run gives the images of a split."""

from pathlib import Path

import tensorflow as tf

from imgcap.data.batches import evaluation_images
from imgcap.data.manifest import count_images, load_manifest, shard_paths
from imgcap.data.shards import damage_refused, references, refuse_missing
from imgcap.evaluation.generate import IMAGES_AT_ONCE, best_captions, generate, make_caption_step
from imgcap.run.identity import refuse_other_vocabulary
from imgcap.run.restore import load_captioner


def caption_split(workdir: Path, data_dir: Path | str, split: str) -> dict[str, str]:
    """Captions a split with the run's best checkpoint and its own decode options.

    Args:
        workdir: the run directory.
        data_dir: what `imgcap-prepare` wrote; of the same vocabulary as the run.
        split: 'train', 'dev' or 'test', or several joined by '+'.

    Returns:
        The best caption of each image, by the image's name.

    Raises:
        RunError: the run is missing, unfinished or broken.
        DataError: the data is missing, damaged or of another vocabulary.
    """
    captioner, config = load_captioner(workdir)
    manifest = load_manifest(data_dir)
    refuse_other_vocabulary(captioner.vocabulary, data_dir, manifest)
    paths = [path for part in split.split("+") for path in shard_paths(data_dir, manifest, part)]
    with damage_refused(paths):
        images = [reference.image_id for reference in references(paths)]
        refuse_missing(len(images), count_images(manifest, split), paths)
        dataset = evaluation_images(
            paths, images=IMAGES_AT_ONCE, image_size=config.model.image_size
        )
        step = make_caption_step(
            captioner, tf.distribute.get_strategy(), config.decode, encoded=False
        )
        captions = best_captions(captioner, generate(step, dataset, len(images), config.decode))
    return dict(zip(images, captions, strict=True))
