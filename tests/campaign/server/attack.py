"""Requests that cost far more than their bytes, beside good callers, with the server's memory.

    python -m tests.campaign attack

It draws the server's memory over time into attack.png, in the current directory. The environment
variables of `tests.campaign.server.world` choose another model and the real server.
"""

import json
import random
import struct
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from imgcap.signature import DECODE, IMAGE_BYTES, MODEL_NAME
from tests.campaign.figures import Row, Tally
from tests.campaign.server.world import (
    GoodCallers,
    MemoryWatch,
    caption_of,
    find_model,
    server_kind,
    settled_megabytes,
)
from tests.support.servers import ServerProcess, server_process

SIZE = 60
"""Attempts of each kind in the long form."""

MEMORY_FACTOR = 1.2
"""How much more memory a server may have after the attack."""

PICTURE = "attack.png"

Attempt = Callable[[ServerProcess, grpc.Channel, bytes, random.Random], None]
"""Sends one hostile request; an answer of any kind is fine."""


def tensor(sizes: list[int], *values: bytes) -> TensorProto:
    """A string tensor that declares any shape, with these values."""
    proto = TensorProto(dtype=types_pb2.DT_STRING, string_val=values)
    for size in sizes:
        proto.tensor_shape.dim.add().size = size
    return proto


def ask(channel: grpc.Channel, proto: TensorProto, seconds: float = 20.0) -> None:
    """Sends a request with one input; a status other than OK is an answer as well."""
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL_NAME, DECODE
    request.inputs[IMAGE_BYTES].CopyFrom(proto)
    try:
        PredictionServiceStub(channel).Predict(request, timeout=seconds)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            raise


def ask_rest(server: ServerProcess, body: bytes) -> None:
    """Posts a body; any HTTP status is an answer."""
    url = f"http://{server.http}/v1/models/{MODEL_NAME}:predict"
    try:
        with urllib.request.urlopen(url, body, timeout=30) as response:
            response.read()
    except urllib.error.HTTPError as error:
        error.read()


def many_dimensions(server, channel, photo, rng) -> None:
    ask(channel, tensor([1] * rng.randint(33, 254), photo))


def many_lists(server, channel, photo, rng) -> None:
    depth = rng.randint(33, 3000)
    ask_rest(server, b'{"instances": ' + b"[" * depth + b'"x"' + b"]" * depth + b"}")


def declared_rows(server, channel, photo, rng) -> None:
    ask(channel, tensor([10 ** rng.randint(3, 9)], rng.choice([photo, b""])))


def impossible_sizes(server, channel, photo, rng) -> None:
    ask(channel, tensor(rng.choice([[-1], [2**62, 2**62], [0, 2**40], [2**63 - 1]]), photo))


def photo_for_a_thousand_rows(server, channel, photo, rng) -> None:
    """One photograph for 1,000 rows, twice at once, with a deadline of a second."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: ask(channel, tensor([1000], photo), 1.0), range(2)))


def most_rows(server, channel, photo, rng) -> None:
    """As many rows as may be, all of them sent, and nobody waits for the end."""
    ask(channel, tensor([256], *[photo] * 256), 1.0)


def declared_pixels(server, channel, photo, rng) -> None:
    """A PNG file that declares up to 2³¹ pixels a side."""
    side = rng.choice([30_000, 65_500, 2**31 - 1])
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    ask(channel, tensor([1], b"\x89PNG\r\n\x1a\n" + chunk))


def many_bytes(server, channel, photo, rng) -> None:
    ask(channel, tensor([1], rng.randbytes(rng.choice([10**6, 2 * 10**7]))))


def many_rest_bytes(server, channel, photo, rng) -> None:
    ask_rest(server, json.dumps({"instances": [{"b64": "QUJD" * 10**6}]}).encode())


def gone_at_once(server, channel, photo, rng) -> None:
    """Callers who go away at a random moment of a large request."""
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL_NAME, DECODE
    request.inputs[IMAGE_BYTES].CopyFrom(tensor([200], *[photo] * 200))
    call = PredictionServiceStub(channel).Predict.future(request, timeout=30)
    time.sleep(rng.random() / 10)
    call.cancel()


ATTEMPTS: dict[str, Attempt] = {
    "33 to 254 dimensions": many_dimensions,
    "nested lists": many_lists,
    "rows declared, not sent": declared_rows,
    "impossible sizes": impossible_sizes,
    "one photo for 1,000 rows": photo_for_a_thousand_rows,
    "256 photos, 1 s": most_rows,
    "pixels declared": declared_pixels,
    "20 MB": many_bytes,
    "4 MB by REST": many_rest_bytes,
    "callers who go away": gone_at_once,
}


def run(size: int, seed: int, picture: bool = True) -> list[Row]:
    """Attacks a server from four sides at once.

    Args:
        size: attempts of each kind.
        seed: decides their order and their content.
        picture: whether to draw the server's memory.

    Returns:
        A row for each kind of attempt, for the good callers, and for the memory.
    """
    rng = random.Random(seed)
    names = [name for name in ATTEMPTS for _ in range(size)]
    rng.shuffle(names)
    tally = Tally(*ATTEMPTS)
    with tempfile.TemporaryDirectory(prefix="imgcap-attack-") as folder:
        base_path, photo = find_model(Path(folder))
        with server_process(server_kind(), model_base_path=str(base_path)) as server:
            alone = caption_of(server.target, photo)
            right = lambda text, version: text == alone  # noqa: E731
            with GoodCallers(server.target, photo, 2, right, pause=0.05) as before:
                time.sleep(5 if picture else 1)
            megabytes = settled_megabytes(server, 6.0 if picture else 1.0)
            with MemoryWatch(server) as watch:
                with (
                    GoodCallers(server.target, photo, 2, right, pause=0.05) as good,
                    ThreadPoolExecutor(4) as pool,
                ):
                    list(pool.map(lambda name: _attempt(server, name, photo, rng, tally), names))
                attacked = watch.samples[-1][0]
                afterwards = settled_megabytes(server, 30.0, enough=1.03 * megabytes)
    for asked in good.asked:
        tally.add("good callers", asked.problem)
    if picture:
        _draw(watch.samples, attacked, megabytes, afterwards)
    return [
        *tally.rows(),
        _latency("good callers' slowest", [asked.seconds for asked in good.asked]),
        _latency("without the attack", [asked.seconds for asked in before.asked]),
        Row(
            "memory afterwards",
            1,
            int(0 < afterwards <= MEMORY_FACTOR * megabytes),
            f"{megabytes:.0f} MB, at most {watch.peak:.0f} MB, afterwards {afterwards:.0f} MB "
            f"({afterwards / megabytes:.2f} ×, ≤ {MEMORY_FACTOR} ×)",
        ),
    ]


def _attempt(
    server: ServerProcess, name: str, photo: bytes, rng: random.Random, tally: Tally
) -> None:
    if not server.alive:
        tally.add(name, "the server is gone")
        return
    problem = ""
    with grpc.insecure_channel(server.target) as channel:
        try:
            ATTEMPTS[name](server, channel, photo, rng)
        except Exception as error:
            problem = f"no answer ({type(error).__name__})"
    tally.add(name, problem if server.alive else "the server's process ended")


def _latency(name: str, seconds: list[float]) -> Row:
    seconds = sorted(seconds)
    middle = seconds[len(seconds) // 2]
    return Row(name, 0, 0, f"{seconds[-1]:.2f} s, median {middle:.3f} s of {len(seconds)}")


def _draw(
    samples: list[tuple[float, float]], attacked: float, before: float, afterwards: float
) -> None:
    """Draws memory over time.

    Args:
        samples: (seconds, MB).
        attacked: seconds after which the attack was over.
        before: MB before it.
        afterwards: MB at the end.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*zip(*samples, strict=True), color="tab:red")
    axes.axvspan(0, attacked, color="tab:red", alpha=0.1, label="under attack")
    axes.axhline(before, color="tab:blue", linestyle="--", label=f"before: {before:.0f} MB")
    axes.axhline(
        afterwards, color="tab:green", linestyle=":", label=f"afterwards: {afterwards:.0f} MB"
    )
    axes.set(xlabel="seconds", ylabel="memory of the server, MB", ylim=(0, None))
    axes.legend()
    figure.savefig(PICTURE, dpi=150)
