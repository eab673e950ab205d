"""Requests of every RPC and of REST, changed at random by field, beside good callers.

    python -m tests.campaign requests

The environment variables of `tests.campaign.server.world` choose another model and the real server.
"""

import http.client
import json
import random
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import grpc
from google.protobuf.message import DecodeError, Message
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from imgcap.host.progress import Progress
from imgcap.signature import DECODE, IMAGE_BYTES, MODEL_NAME
from tests.campaign.figures import Row, Tally
from tests.campaign.server.mutation import mutate, mutate_bytes, mutate_json
from tests.campaign.server.world import (
    GoodCallers,
    caption_of,
    find_model,
    server_kind,
    settled_megabytes,
)
from tests.support.servers import ServerProcess, server_process

SIZE = 20_000
"""Requests of the long form."""

MEMORY_FACTOR = 1.2
"""How much more memory a server may have afterwards."""

FAULTS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED)
"""Statuses that say that the server broke or hung; every other is an answer."""

_SECONDS = 30.0
_REST_SHARE = 0.3
_PREDICTION = "/tensorflow.serving.PredictionService/"
_MODEL = "/tensorflow.serving.ModelService/"


class World(NamedTuple):
    """What requests are made of.

    Attributes:
        base_path: folder of the model.
        photo: a photograph that it captions.
    """

    base_path: Path
    photo: bytes


def predict(world: World) -> Message:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL_NAME, DECODE
    tensor = request.inputs[IMAGE_BYTES]
    tensor.dtype = types_pb2.DT_STRING
    tensor.tensor_shape.dim.add(size=1)
    tensor.string_val.append(world.photo)
    return request


def classify(world: World) -> Message:
    request = classification_pb2.ClassificationRequest()
    _fill(request)
    return request


def regress(world: World) -> Message:
    request = regression_pb2.RegressionRequest()
    _fill(request)
    return request


def multi_inference(world: World) -> Message:
    request = inference_pb2.MultiInferenceRequest()
    for method in ("classify", "regress"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = MODEL_NAME
    _add_example(request.input)
    return request


def metadata(world: World) -> Message:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = MODEL_NAME
    return request


def status(world: World) -> Message:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = MODEL_NAME
    return request


def reload(world: World) -> Message:
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(
        name="other", base_path=str(world.base_path), model_platform="tensorflow"
    )
    return request


def _fill(request: Message) -> None:
    request.model_spec.name = MODEL_NAME
    _add_example(request.input)


def _add_example(given: Message) -> None:
    example = given.example_list.examples.add()
    example.features.feature["inputs"].bytes_list.value.append(b"four")


RPCS: dict[str, tuple[str, Callable[[World], Message]]] = {
    "Predict": (_PREDICTION, predict),
    "Classify": (_PREDICTION, classify),
    "Regress": (_PREDICTION, regress),
    "MultiInference": (_PREDICTION, multi_inference),
    "GetModelMetadata": (_PREDICTION, metadata),
    "GetModelStatus": (_MODEL, status),
    "HandleReloadConfigRequest": (_MODEL, reload),
}


def run(size: int, seed: int) -> list[Row]:
    """Sends changed requests from four sides at once.

    Args:
        size: number of requests.
        seed: decides all of them.

    Returns:
        A row for each RPC, for REST, for the good callers, and for the memory.
    """
    # A reload with a bad folder blocks the real server for ever.
    names = [name for name in RPCS if server_kind() == "embedded" or "Reload" not in name]
    tally = Tally(*names, "REST")
    with tempfile.TemporaryDirectory(prefix="imgcap-requests-") as folder:
        world = World(*find_model(Path(folder)))
        with server_process(server_kind(), model_base_path=str(world.base_path)) as server:
            alone = caption_of(server.target, world.photo)
            _send_all(server, world, names, size // 20, seed + 10_000, Tally(), lambda: None)
            before = settled_megabytes(server, 6.0 if size > 1000 else 1.0)
            with (
                GoodCallers(
                    server.target, world.photo, 2, lambda text, _: text == alone, pause=0.05
                ) as good,
                Progress("requests", size, "requests") as progress,
            ):
                _send_all(server, world, names, size, seed, tally, progress.advance)
            after = settled_megabytes(server, 30.0, enough=1.03 * before)
    for asked in good.asked:
        tally.add("good callers", asked.problem)
    note = (
        f"{before:.0f} MB, afterwards {after:.0f} MB ({after / before:.2f} ×, ≤ {MEMORY_FACTOR} ×)"
    )
    return [*tally.rows(), Row("memory", 1, int(0 < after <= MEMORY_FACTOR * before), note)]


def _send_all(
    server: ServerProcess,
    world: World,
    names: list[str],
    size: int,
    seed: int,
    tally: Tally,
    on_sent: Callable[[], None],
) -> None:
    """Sends requests number 0 to `size`, each drawn by its number alone."""

    def send(number: int) -> None:
        rng = random.Random(f"{seed} {number}")
        name = "REST" if rng.random() < _REST_SHARE else rng.choice(names)
        if not server.alive:
            problem = "the server is gone"
        elif name == "REST":
            problem = _send_rest(server, world, rng)
        else:
            problem = _send_rpc(channel, world, name, rng)
        if problem and not server.alive:
            problem = f"the server's process ended ({problem})"
        tally.add(name, problem, f"--seed={seed} number {number}")
        on_sent()

    with grpc.insecure_channel(server.target) as channel, ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(size)))


def make_request(world: World, name: str, rng: random.Random) -> bytes:
    """Makes the bytes of a changed request."""
    request = RPCS[name][1](world)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        mutate(request, rng)
    if name == "HandleReloadConfigRequest" and request.config.HasField("model_config_list"):
        # The model stays listed, else good callers are refused rightly.
        request.config.model_config_list.config.add(
            name=MODEL_NAME, base_path=str(world.base_path), model_platform="tensorflow"
        )
    text = request.SerializeToString()
    is_reload = name == "HandleReloadConfigRequest"
    return mutate_bytes(text, rng) if not is_reload and rng.random() < 0.1 else text


def _send_rpc(channel: grpc.Channel, world: World, name: str, rng: random.Random) -> str:
    request = make_request(world, name, rng)
    try:
        channel.unary_unary(RPCS[name][0] + name)(request, timeout=_SECONDS)
    except grpc.RpcError as error:
        # INTERNAL is gRPC's own answer to bytes that are no message.
        if error.code() in FAULTS and _is_message(world, name, request):
            return f"{error.code().name}: {error.details()[:300]}"
    return ""


def _is_message(world: World, name: str, text: bytes) -> bool:
    try:
        RPCS[name][1](world).ParseFromString(text)
    except DecodeError:
        return False
    return True


def _send_rest(server: ServerProcess, world: World, rng: random.Random) -> str:
    action = rng.choice((":predict", ":predict", ":predict", ":classify", ":regress", "", "/x"))
    where = rng.choice(
        (f"/v1/models/{MODEL_NAME}", "/v1/models/nope", "/v1/models/imgcap/versions/1")
    )
    tree = rng.choice(
        (
            {"instances": [{"b64": "Zm91cg=="}], "signature_name": "decode"},
            {"inputs": {"image_bytes": [{"b64": "Zm91cg=="}, {"b64": "YmFk"}]}},
            {"examples": [{"inputs": "x", "n": 3}], "context": {"a": [1.5]}},
        )
    )
    for _ in range(rng.choice((1, 1, 2, 4))):
        tree = mutate_json(tree, rng)
    body = json.dumps(tree).encode()
    if rng.random() < 0.3:
        body = mutate_bytes(body, rng)
    connection = http.client.HTTPConnection(server.http, timeout=_SECONDS)
    try:
        connection.request(rng.choice(("POST", "POST", "POST", "GET")), where + action, body)
        response = connection.getresponse()
        text = response.read()
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    except http.client.HTTPException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return f"HTTP {response.status}: {text[:300]!r}" if response.status >= 500 else ""
