"""Options of imgcap-prepare, which no run directory keeps."""

from dataclasses import dataclass

from imgcap.config.setting import Section, setting
from imgcap.errors import ConfigError

TABLES = ("csv", "jsonl", "parquet")
"""Layouts of people's own tables, whose columns have any names."""

DATASETS = ("auto", "flickr8k", "flickr30k", "coco", "karpathy", *TABLES)
"""Layouts of raw data."""

LOCAL = "local"
RUNNERS = (
    LOCAL,
    "DirectRunner",
    "FlinkRunner",
    "SparkRunner",
    "DataflowRunner",
    "PortableRunner",
)
"""Who prepares: this machine's processes, or a runner of Apache Beam."""

WORD, CHARACTER = TOKENIZERS = ("word", "character")
"""How captions are split: into words, or characters of scripts that are written without spaces."""


@dataclass(frozen=True)
class PrepareConfig(Section):
    """Preparation of a raw data set as TFRecord shards."""

    dataset: str = setting(
        "auto", "Layout of the raw data; auto looks, and says what it found.", choices=DATASETS
    )
    raw_dir: str = setting(
        "",
        "Folder or address of the raw images and captions; may be omitted if captions and images "
        "are given.",
        path=True,
        remote=True,
    )
    output_dir: str = setting(
        "",
        "Folder or address for the shards; made if absent.",
        required=True,
        path=True,
        remote=True,
    )
    num_shards: int = setting(
        16, "Files for the training split; the other splits get a quarter.", minimum=1
    )
    min_count: int = setting(
        0,
        "Times a word must occur in the training captions to be kept; 0 chooses 1 to 5 by the "
        "captions, 5 if they are many.",
        minimum=0,
    )
    vocabulary: str = setting(
        "",
        "Run whose words number the captions: imgcap-train --finetune_from takes the data then.",
        path=True,
    )
    extend_vocabulary: bool = setting(
        False, "Add the new words that occur min_count times to those of the run in vocabulary."
    )
    max_unknown: float = setting(
        0.2,
        "Share of the training captions' words unknown to the vocabulary of a run above which "
        "preparation stops.",
        minimum=0.0,
        maximum=1.0,
    )
    max_length: int = setting(
        20, "Words of a caption that are used in training; the rest is cut.", minimum=1
    )
    tokenizer: str = setting(
        WORD,
        "How captions are split: word at spaces and signs; character also takes Chinese, Japanese, "
        "Thai and other scripts that are written without spaces character by character.",
        choices=TOKENIZERS,
    )
    max_bad_fraction: float = setting(
        0.01, "Share of unreadable images above which preparation stops.", minimum=0.0, maximum=1.0
    )
    pictures: str = setting(
        "photographs",
        "Kind of the pictures, which the model's card tells.",
        choices=("photographs", "drawings"),
    )
    num_processes: int = setting(0, "Processes that read and write; 0 takes one a core.", minimum=0)
    runner: str = setting(
        LOCAL,
        "Who prepares: the processes of this machine, or the workers of a runner of Apache Beam, "
        "whose own options come after --, such as -- --flink_master=host:8081.",
        choices=RUNNERS,
    )
    seed: int = setting(
        0, "Seed of the split (if there are no split files) and of the order of records."
    )

    captions: str = setting(
        "",
        "Files with captions if they are not found, separated by commas; patterns such as "
        "captions_*.json, relative to raw_dir.",
        path=True,
        remote=True,
        several=True,
        heading="Where the raw data lie, if their layout does not tell",
    )
    images: str = setting(
        "",
        "Folders with the images, separated by commas, relative to raw_dir.",
        path=True,
        remote=True,
        several=True,
    )
    image_column: str = setting(
        "", "Column (csv, parquet) or key (jsonl) that names the image; found if empty."
    )
    caption_column: str = setting(
        "", "Column or key of the caption, several separated by commas; found if empty."
    )
    split_column: str = setting("", "Column or key of the split: train, val, test; found if empty.")
    train_list: str = setting(
        "",
        "File with the training images, one a line; the images of no list are left out.",
        path=True,
        remote=True,
    )
    dev_list: str = setting("", "File with the images of split dev.", path=True, remote=True)
    test_list: str = setting("", "File with the images of split test.", path=True, remote=True)

    def validate_combinations(self) -> None:
        """Checks where the raw data lie and where the words come from."""
        self._check_raw_data()
        self._check_vocabulary()

    def _check_raw_data(self) -> None:
        """Checks that the flags of the raw data say all, and nothing twice."""
        if not self.raw_dir and not (self.captions and self.images):
            raise ConfigError(
                "--raw_dir is missing: give the folder with the raw images and captions, or both "
                "--captions and --images"
            )
        lists = {name: getattr(self, name) for name in ("train_list", "dev_list", "test_list")}
        given = [name for name, value in lists.items() if value]
        if given and not (self.train_list and self.dev_list):
            raise ConfigError(
                f"--{given[0]}={lists[given[0]]} is one part of a split: give --train_list and "
                "--dev_list (and --test_list, if there is one)"
            )
        if given and self.split_column:
            raise ConfigError(
                f"--split_column={self.split_column} and --{given[0]} both say the split: drop one "
                "of the two"
            )
        self.check_reader(self.dataset)

    def check_reader(self, dataset: str) -> None:
        """Checks that the reader of a data set reads the flags that were given.

        Args:
            dataset: one of `DATASETS`.

        Raises:
            ConfigError: it does not; names the flag and who reads it.
        """
        columns = [
            name
            for name in ("image_column", "caption_column", "split_column")
            if getattr(self, name)
        ]
        if columns and dataset not in ("auto", *TABLES):
            raise ConfigError(
                f"--{columns[0]}={getattr(self, columns[0])} is for tables ({', '.join(TABLES)}): "
                f"{dataset} has names of its own, drop it"
            )
        if self.train_list and dataset == "karpathy":
            raise ConfigError(
                f"--train_list={self.train_list} says the split, which karpathy's file says too: "
                "drop it"
            )

    def _check_vocabulary(self) -> None:
        """Checks that words are added to a run's, and counted only if they are added."""
        if self.extend_vocabulary and not self.vocabulary:
            raise ConfigError(
                "--extend_vocabulary adds words to those of a run: give that run as --vocabulary"
            )
        if self.vocabulary and self.min_count and not self.extend_vocabulary:
            raise ConfigError(
                f"--min_count={self.min_count} takes words from the captions, --vocabulary="
                f"{self.vocabulary} has all words already: give --extend_vocabulary too, or drop "
                "one of the two"
            )
