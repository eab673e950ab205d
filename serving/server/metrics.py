"""Counters and histograms in Prometheus's text format, with TensorFlow Serving's names."""

import bisect
import itertools
import threading
from collections.abc import Iterator

# The values of a metric's labels, in order.
_Labels = tuple[str, ...]


def exponential(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """Upper limits of a histogram's buckets: scale · growth^i for i below count.

    Values above the last one fall into the bucket +Inf, which every histogram has.
    """
    return tuple(scale * growth**i for i in range(count))


class Counter:
    """A number that only rises, one for each combination of labels."""

    def __init__(self, name: str, *labels: str) -> None:
        """Starts at no value.

        Args:
            name: name of the metric, with colons as TensorFlow Serving writes it.
            labels: names of its labels.
        """
        self.name, self._labels = name, labels
        self._values: dict[_Labels, float] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, by: float = 1) -> None:
        """Counts up.

        Args:
            labels: the value of each label, in order.
            by: how much, at least 0.
        """
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + by

    def lines(self) -> Iterator[str]:
        """Lines of the metric in Prometheus's text."""
        yield f"# TYPE {self.name} counter"
        with self._lock:
            values = dict(self._values)
        for labels, value in values.items():
            yield f"{self.name}{_braces(self._labels, labels)} {value:.17g}"


class Histogram:
    """Numbers of values below each of a few limits, one set for each combination of labels."""

    def __init__(self, name: str, *labels: str, limits: tuple[float, ...]) -> None:
        """Starts at no value.

        Args:
            name: name of the metric, with colons as TensorFlow Serving writes it.
            labels: names of its labels.
            limits: upper limits of the buckets, rising, without +Inf.
        """
        self.name, self._labels, self._limits = name, labels, limits
        self._buckets: dict[_Labels, list[int]] = {}
        self._sums: dict[_Labels, float] = {}
        self._lock = threading.Lock()

    def observe(self, value: float, *labels: str) -> None:
        """Counts a value.

        Args:
            value: the measured value.
            labels: the value of each label, in order.
        """
        with self._lock:
            buckets = self._buckets.setdefault(labels, [0] * (len(self._limits) + 1))
            buckets[bisect.bisect_left(self._limits, value)] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> Iterator[str]:
        """Lines of the metric in Prometheus's text; its buckets are cumulative there."""
        yield f"# TYPE {self.name} histogram"
        with self._lock:
            state = {
                labels: (list(counts), self._sums[labels])
                for labels, counts in self._buckets.items()
            }
        limits = [*(f"{limit:g}" for limit in self._limits), "+Inf"]
        for labels, (counts, total) in state.items():
            for limit, count in zip(limits, itertools.accumulate(counts), strict=True):
                yield (
                    f"{self.name}_bucket{_braces((*self._labels, 'le'), (*labels, limit))} {count}"
                )
            yield f"{self.name}_sum{_braces(self._labels, labels)} {total:.17g}"
            yield f"{self.name}_count{_braces(self._labels, labels)} {sum(counts)}"


class Metrics:
    """All counters and histograms of the embedded server.

    Names, labels, units (microseconds) and buckets follow servables/tensorflow/util.cc and
    batching/batching_session.cc of TensorFlow Serving and cc/saved_model/loader.cc of TensorFlow,
    so that a dashboard made for the real server shows this one too.
    """

    def __init__(self) -> None:
        microseconds = exponential(10, 1.8, 32)  # to 17 minutes
        self.request_count = Counter(":tensorflow:serving:request_count", "model_name", "status")
        self.request_latency = Histogram(
            ":tensorflow:serving:request_latency",
            "model_name",
            "API",
            "entrypoint",
            limits=microseconds,
        )
        self.load_attempt_count = Counter(
            ":tensorflow:cc:saved_model:load_attempt_count", "model_path", "status"
        )
        self.model_warmup_latency = Histogram(
            ":tensorflow:serving:model_warmup_latency", "model_path", "status", limits=microseconds
        )
        self.queuing_latency = Histogram(
            ":tensorflow:serving:batching_session:queuing_latency",
            "thread_pool_name",
            limits=exponential(100, 1.2, 51),
        )
        self.processed_batch_size = Histogram(
            ":tensorflow:serving:batching_session:processed_batch_size",
            limits=exponential(1, 2, 12),
        )
        self.padding_size = Histogram(
            ":tensorflow:serving:batching_session:padding_size",
            "execution_batch_size",
            limits=(0, *exponential(1, 2, 12)),
        )

    def text(self) -> str:
        """The text of all metrics, as Prometheus scrapes it."""
        return "".join(f"{line}\n" for metric in vars(self).values() for line in metric.lines())


def _braces(names: _Labels, values: _Labels) -> str:
    escaped = (
        value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for value in values
    )
    return (
        "{"
        + ",".join(f'{name}="{value}"' for name, value in zip(names, escaped, strict=True))
        + "}"
    )
