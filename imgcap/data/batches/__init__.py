"""Input pipelines for training and evaluation: shards to batches, by tf.data.

The order of the operations, and why:

1. *Shard order, then interleave*: whole files are shuffled first, which costs nothing; a few are
   read at once, so that one slow file does not stall the rest.
2. *Shuffle of serialised records*, before anything is decoded: a decoded image is 600 KB, an
   encoded one 15-100 KB.
3. *Global batches* are made before decoding, too: every worker and every replica sees the same
   sequence of global batches and then takes its own rows. So the curve does not depend on how many
   replicas there are, a run can be resumed in the middle of an epoch by skipping batches that were
   never decoded, and no worker decodes another's rows.
4. *Decode and augment* in parallel, then *prefetch*, so that the device never waits.

Everything random is a function of the seed, the epoch and the place in it, never of time or of a
thread's luck.
"""

from imgcap.data.batches.batch import ONE_REPLICA, Batch, EvaluationBatch, Position, Rows
from imgcap.data.batches.captions import LENGTH_STEP, feature_steps
from imgcap.data.batches.evaluation import evaluation_features, evaluation_images
from imgcap.data.batches.examples import DecodedImages, EncodedCaptions, EncodedImages
from imgcap.data.batches.images import OUT_OF_ORDER
from imgcap.data.batches.training import training_batches

__all__ = [
    "Batch",
    "DecodedImages",
    "EncodedCaptions",
    "EncodedImages",
    "EvaluationBatch",
    "LENGTH_STEP",
    "ONE_REPLICA",
    "OUT_OF_ORDER",
    "Position",
    "Rows",
    "evaluation_features",
    "evaluation_images",
    "feature_steps",
    "training_batches",
]
