"""Settings of training: data, optimiser, regularisation, numerics, what is kept."""

import re
from dataclasses import dataclass

from imgcap.config.setting import Section, setting
from imgcap.errors import ConfigError
from imgcap.files.locations import is_remote


@dataclass(frozen=True)
class TrainConfig(Section):
    """Training: data, optimisation, numerics, and what is kept."""

    data_dir: str = setting(
        "",
        "Folder or address that imgcap-prepare wrote to.",
        required=True,
        common=True,
        path=True,
        remote=True,
    )
    workdir: str = setting(
        "",
        "Run directory; a run found there is resumed.",
        required=True,
        common=True,
        path=True,
    )
    batch_size: int = setting(
        128,
        "Captions in a global batch, split over the replicas.",
        minimum=1,
        common=True,
    )
    epochs: int = setting(
        0,
        "Passes over the training captions; 0 takes 12, and more if the data are few.",
        minimum=0,
        common=True,
    )
    max_steps: int = setting(
        0,
        "Stop after this many steps; 0 is no limit.",
        minimum=0,
        heading="Training: length and optimiser",
    )
    learning_rate: float = setting(
        1e-3,
        "Peak learning rate of Adam.",
        minimum=0.0,
        common=True,
    )
    schedule: str = setting(
        "cosine",
        "Learning rate after the warm-up: constant, down to 0 along a cosine, or a tenth at each "
        "of two steps.",
        choices=("constant", "cosine", "step"),
    )
    warmup_steps: int = setting(0, "Steps of linear warm-up.", minimum=0)
    weight_decay: float = setting(
        0.0, "Decoupled weight decay (AdamW) of the decoder's kernels.", minimum=0.0
    )
    ema_momentum: float = setting(
        0.0,
        "Momentum of a moving average of the weights, which then captions in their place; step t "
        "uses (1 + t) / (10 + t) while that is smaller. 0 is off.",
        minimum=0.0,
        maximum=0.99999,
    )
    clip_norm: float = setting(
        5.0, "Greatest global norm of the gradient; 0 is no clipping.", minimum=0.0
    )
    label_smoothing: float = setting(
        0.0,
        "Probability taken from the true word and shared by all words.",
        minimum=0.0,
        maximum=0.9,
        heading="Training: regularisation",
    )
    word_dropout: float = setting(
        0.0,
        "Probability that a word read in training is replaced by <unk> (Bowman et al. 2016).",
        minimum=0.0,
        maximum=0.9,
    )
    scheduled_sampling: float = setting(
        0.0,
        "Probability, reached linearly at the end, that a word read in training is the model's own "
        "(Bengio et al. 2015).",
        minimum=0.0,
        maximum=0.9,
    )
    attention_regulariser: float = setting(
        0.0,
        "Weight of the doubly stochastic regulariser of attention (Xu et al. 2015, section 4.2.1).",
        minimum=0.0,
    )
    objective: str = setting(
        "cross_entropy",
        "What training minimises: the cross-entropy of true captions; with it the distance from a "
        "teacher's distribution of each word (distill, Hinton et al. 2015); or by self-critical "
        "training (scst, Rennie et al. 2017; from a run given by finetune_from) the negative CIDEr "
        "of sampled captions.",
        choices=("cross_entropy", "distill", "scst"),
        heading="Training: distillation, and self-critical on CIDEr",
    )
    teacher: str = setting(
        "",
        "Run directory that --objective=distill learns from, of one decoder or an ensemble, or "
        "pretrained:flickr8k; of the same vocabulary and encoder.",
        path=True,
    )
    teacher_weight: float = setting(
        0.7,
        "Weight of the teacher's distribution in distillation; the true word has the rest.",
        minimum=0.0,
        maximum=1.0,
    )
    scst_samples: int = setting(
        5, "Captions drawn for an image in self-critical training.", minimum=2
    )
    scst_temperature: float = setting(
        0.5,
        "Divisor of the logits in self-critical training; below 1 it improves the likely captions, "
        "which a search finds, instead of the unlikely ones.",
        minimum=0.05,
        maximum=2.0,
    )
    scst_baseline: str = setting(
        "mean",
        "What a sampled caption must beat: the mean of the image's other samples, or the greedy "
        "caption.",
        choices=("mean", "greedy"),
    )
    finetune_from: str = setting(
        "",
        "Run directory whose best weights to start from, or pretrained:flickr8k; its model "
        "settings are taken too.",
        common=True,
        heading="Training: fine-tuning and the encoder",
        path=True,
    )
    finetune_blocks: int = setting(
        0,
        "Blocks of the encoder, counted from its end, that train; -1 is the whole encoder.",
        minimum=-1,
    )
    batch_norm: str = setting(
        "frozen",
        "Statistics of the encoder's BatchNorm; 'update' is for training from scratch.",
        choices=("frozen", "update"),
    )
    encoder_learning_rate: float = setting(
        0.0, "Peak learning rate of the encoder's weights; 0 takes learning_rate.", minimum=0.0
    )
    accumulate_steps: int = setting(
        1,
        "Micro-batches that a batch is cut into; their gradients are summed, which needs less "
        "memory.",
        minimum=1,
        heading="Training: memory",
    )
    recompute: bool = setting(
        False,
        "Compute the encoder's activations again in the backward pass instead of keeping them.",
    )
    cache_features: bool = setting(
        False,
        "Run the frozen encoder once and train on its stored features.",
        common=True,
        heading="Training: images and stored features",
    )
    cached_views: int = setting(
        1,
        "Stored features of a training image, of which each epoch draws one: 2 adds its mirror "
        "image, each one more a random crop (see random_crop).",
        minimum=1,
        maximum=16,
    )
    cache_dir: str = setting(
        "", "Folder of the stored features; empty takes data_dir/features.", path=True
    )
    skip_bad_records: bool = setting(
        False,
        "Go on without training records that cannot be read, and count them; else training stops.",
    )
    data_service: str = setting(
        "",
        "Services that decode the training images, started by imgcap-data-service: "
        "grpc://HOST:PORT[,grpc://…].",
    )
    augment: bool = setting(
        True,
        "Random horizontal flip of the training images; with cached features, see cached_views.",
    )
    random_crop: float = setting(
        1.0,
        "Least share of a training image's area that a random crop keeps, scaled back to the "
        "whole; 1 crops nothing.",
        minimum=0.1,
        maximum=1.0,
    )
    strategy: str = setting(
        "auto",
        "tf.distribute strategy; 'auto' is multi_worker if TF_CONFIG names several workers, else "
        "mirrored if there are several devices, else none. 'multi_worker' reads TF_CONFIG or, "
        "without it, which tasks srun started in Slurm.",
        choices=("auto", "one_device", "mirrored", "multi_worker"),
        common=True,
        heading="Training: devices and numerics",
    )
    num_logical_cpus: int = setting(
        0, "Split the CPU into this many devices, to try a strategy; 0 leaves it.", minimum=0
    )
    precision: str = setting(
        "float32", "Keras precision policy.", choices=("float32", "mixed_float16", "mixed_bfloat16")
    )
    jit: bool = setting(
        False, "Compile the forward and backward pass with XLA, on GPUs; on CPUs it is slower."
    )
    deterministic: bool = setting(
        False, "Same order and same arithmetic at every run, at some cost in speed."
    )
    patience: int = setting(
        -1,
        "Epochs after the best one before training stops, by dev CIDEr smoothed over neighbouring "
        "epochs; 0 never stops, -1 takes a third of the epochs, at least 4.",
        minimum=-1,
        heading="Training: stopping, logging, checkpoints, seed",
    )
    log_every: int = setting(20, "Steps between lines of metrics.jsonl.", minimum=1)
    checkpoint_every: int = setting(
        0,
        "Steps between checkpoints within an epoch; 0 writes one at the end of each epoch alone.",
        minimum=0,
    )
    keep_checkpoints: int = setting(2, "Checkpoints kept beside the best one.", minimum=1)
    seed: int = setting(0, "Seed of the weights, the order and dropout.")

    def validate_combinations(self) -> None:
        """Checks settings that depend on each other."""
        self._check_stored_features()
        self._check_objective()
        self._check_encoder_training()
        self._check_data_service()

    def _check_stored_features(self) -> None:
        """Checks that stored features are of a frozen encoder, and that their views fit."""
        if self.cache_features and self.finetune_blocks:
            raise ConfigError(
                f"--finetune_blocks={self.finetune_blocks} trains the encoder, so its features "
                "can't be stored: drop --cache_features"
            )
        if self.cache_features and is_remote(self.data_dir) and not self.cache_dir:
            raise ConfigError(
                f"--data_dir={self.data_dir} is an address, and stored features need a folder of "
                "this machine: give --cache_dir too"
            )
        if self.cached_views > 1 and not self.cache_features:
            raise ConfigError(
                f"--cached_views={self.cached_views} is about stored features: give "
                "--cache_features too, or have images mirrored (--augment) and cropped "
                "(--random_crop) as they are read"
            )
        if self.cached_views > 2 and self.random_crop == 1:
            raise ConfigError(
                f"--cached_views={self.cached_views} stores random crops: give --random_crop too, "
                "such as 0.5"
            )
        if self.random_crop < 1 and self.cache_features and self.cached_views <= 2:
            raise ConfigError(
                f"--random_crop={self.random_crop} of stored features needs views for the crops: "
                "give --cached_views above 2, or drop --cache_features"
            )

    def _check_objective(self) -> None:
        """Checks what the objective needs, and that a batch holds its micro-batches."""
        self._check_teacher()
        if self.objective == "scst" and not self.finetune_from:
            raise ConfigError(
                "--objective=scst only improves a captioner: give its run as --finetune_from"
            )
        if self.objective == "scst" and self.jit:
            raise ConfigError(
                "--jit can't compile the tables of --objective=scst: drop one of them"
            )
        if self.accumulate_steps > self.batch_size:
            raise ConfigError(
                f"--accumulate_steps={self.accumulate_steps} cuts --batch_size={self.batch_size} "
                "into less than one caption each: choose fewer"
            )

    def _check_teacher(self) -> None:
        """Checks that there is a teacher if there is to be one, and an encoder that stays its."""
        if self.objective != "distill":
            if self.teacher:
                raise ConfigError(
                    f"--teacher={self.teacher} is for --objective=distill: give that too, or drop "
                    "it"
                )
            return
        if not self.teacher:
            raise ConfigError(
                "--objective=distill learns from another captioner: give its run as --teacher"
            )
        if self.finetune_blocks:
            raise ConfigError(
                f"--finetune_blocks={self.finetune_blocks} changes the features, which the teacher "
                "of --objective=distill reads too: drop one of them"
            )

    def _check_encoder_training(self) -> None:
        """Checks that settings of the encoder's training come with an encoder that trains."""
        if self.recompute and not self.finetune_blocks:
            raise ConfigError(
                "--recompute saves memory if the encoder trains: give --finetune_blocks too, or "
                "drop it"
            )
        for name, value, limit in (
            ("recompute", self.recompute, 0),
            ("accumulate_steps", self.accumulate_steps, 1),
        ):
            if self.batch_norm == "update" and value > limit:
                raise ConfigError(
                    f"--{name} would change what --batch_norm=update learns, statistics of the "
                    "whole batch: drop one of them"
                )
        if self.batch_norm == "update" and not self.finetune_blocks:
            raise ConfigError(
                "--batch_norm=update changes a frozen encoder: give --finetune_blocks too"
            )

    def _check_data_service(self) -> None:
        """Checks the addresses of data services, and that there are images to decode."""
        if not self.data_service:
            return
        for address in self.data_service.split(","):
            if not re.fullmatch(r"grpc://[^:/\s]+:\d+", address):
                raise ConfigError(
                    f"--data_service={self.data_service}: {address!r} is not of the form "
                    "grpc://HOST:PORT"
                )
        if self.cache_features:
            raise ConfigError(
                f"--data_service={self.data_service} decodes images, stored features need none: "
                "drop it or --cache_features"
            )
        if self.skip_bad_records:
            raise ConfigError(
                f"--skip_bad_records can't count what --data_service={self.data_service} reads: "
                "drop one of the two"
            )
