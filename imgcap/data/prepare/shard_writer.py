"""Writing one shard, which a worker process of `imgcap-prepare` does."""

import os
from collections import Counter
from collections.abc import Iterator

from imgcap.files.checked import write_checked
from imgcap.files.locations import file_size, open_file
from imgcap.host import quiet

# Workers only read and write: if each of them opened the GPU, no memory would be left for training.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
quiet.import_tensorflow(devices=False)

from imgcap.data import image, records  # noqa: E402  They import TensorFlow.
from imgcap.data.prepare.tasks import ShardResult, ShardTask  # noqa: E402
from imgcap.data.raw.example import Example  # noqa: E402
from imgcap.data.text.tokenisation import normalise  # noqa: E402


def write(task: ShardTask) -> ShardResult:
    """Reads, checks and writes the images of one shard, then its part file.

    Args:
        task: what to write.

    Returns:
        The result, as in the part file.
    """
    counts: Counter[str] = Counter()
    token_counts: Counter[int] = Counter()
    unreadable: dict[str, str] = {}

    def serialised() -> Iterator[bytes]:
        for example in task.examples:
            record = _make_record(example, task, unreadable)
            if record:
                counts.update(images=1, captions=len(record.captions))
                token_counts.update(map(len, record.tokens))
                yield records.to_example(record)

    records.write_shard(task.shard, serialised())
    result = ShardResult(
        task.plan,
        counts["images"],
        counts["captions"],
        {str(length): token_counts[length] for length in sorted(token_counts)},
        unreadable,
        file_size(task.shard),
    )
    write_checked(task.part, result._asdict())
    return result


def _make_record(
    example: Example, task: ShardTask, unreadable: dict[str, str]
) -> records.Record | None:
    """Reads one image and makes its record; None if it is unreadable, which is then noted."""
    try:
        with open_file(example.location) as file:
            image_bytes = file.read()
    except OSError as error:
        unreadable[example.image_id] = error.strerror or "can't be read"
        return None
    problem = image.check(image_bytes)
    if problem:
        unreadable[example.image_id] = problem
        return None
    vocabulary = task.vocabulary
    words = [normalise(text, vocabulary.tokenizer) for text in example.captions]
    tokens = tuple(tuple(vocabulary.encode(caption, task.max_length)) for caption in words)
    return records.Record(example.image_id, image_bytes, example.captions, tokens)
