"""The wire against the official API: numbers, names, types, paths and values."""

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
    status_pb2,
)

from serving.wire import tensors, wire_pb2

OFFICIAL = {
    "TensorShapeProto": tensor_shape_pb2.TensorShapeProto,
    "TensorProto": tensor_pb2.TensorProto,
    "TensorInfo": meta_graph_pb2.TensorInfo,
    "SignatureDef": meta_graph_pb2.SignatureDef,
    "ModelSpec": model_pb2.ModelSpec,
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "StatusProto": status_pb2.StatusProto,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "ModelVersionStatus": get_model_status_pb2.ModelVersionStatus,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
}
HEALTH = {"HealthCheckRequest", "HealthCheckResponse"}  # their official package is not a dependency


def messages_below(descriptor: Descriptor) -> dict[str, Descriptor]:
    found = {descriptor.name: descriptor}
    for nested in descriptor.nested_types:
        found |= {
            f"{descriptor.name}.{name}": below for name, below in messages_below(nested).items()
        }
    return found


def field_facts(field: FieldDescriptor) -> tuple:
    kind = (
        field.message_type.name
        if field.message_type
        else field.enum_type.name
        if field.enum_type
        else None
    )
    oneof = field.containing_oneof.name if field.containing_oneof else None
    return field.name, field.number, field.type, field.is_repeated, field.has_presence, kind, oneof


def test_every_message_is_held_to_one():
    assert set(wire_pb2.DESCRIPTOR.message_types_by_name) == set(OFFICIAL) | HEALTH


@pytest.mark.parametrize("name", OFFICIAL)
def test_fields_are_the_official_ones(name):
    mine = messages_below(getattr(wire_pb2, name).DESCRIPTOR)
    theirs = messages_below(OFFICIAL[name].DESCRIPTOR)
    for path, descriptor in mine.items():
        official = theirs[path].fields_by_name
        for field in descriptor.fields:
            assert field_facts(field) == field_facts(official[field.name]), f"{path}.{field.name}"


@pytest.mark.parametrize(
    "mine, theirs",
    [
        (wire_pb2.DataType, types_pb2.DataType),
        (wire_pb2.ModelVersionStatus.State, get_model_status_pb2.ModelVersionStatus.State),
    ],
)
def test_enum_values_are_the_official_ones(mine, theirs):
    assert set(mine.items()) <= set(theirs.items())


def test_health_messages_are_those_of_the_specification():
    assert wire_pb2.HealthCheckRequest(service="x").SerializeToString() == b"\x0a\x01x"
    status = wire_pb2.HealthCheckResponse
    assert status(status=status.SERVING).SerializeToString() == b"\x08\x01"
    assert dict(status.ServingStatus.items()) == {
        "UNKNOWN": 0,
        "SERVING": 1,
        "NOT_SERVING": 2,
        "SERVICE_UNKNOWN": 3,
    }


def test_generated_code_is_that_of_the_proto_file():
    text = Path(tensors.__file__).with_name("wire.proto").read_text()
    written = re.findall(r"(\w+) = (\d+)[ ;]", re.sub(r"//.*", "", text))
    generated = [
        (field.name, str(field.number))
        for message in wire_pb2.DESCRIPTOR.message_types_by_name.values()
        for path, below in messages_below(message).items()
        if not below.GetOptions().map_entry
        for field in below.fields
    ]
    values = [
        (value.name, str(value.number))
        for enum in (
            wire_pb2.DataType.DESCRIPTOR,
            wire_pb2.ModelVersionStatus.State.DESCRIPTOR,
            wire_pb2.HealthCheckResponse.ServingStatus.DESCRIPTOR,
        )
        for value in enum.values
    ]
    assert sorted(written) == sorted(generated + values)


@pytest.mark.parametrize(
    "name, module, service, method",
    [
        ("predict", prediction_service_pb2, "PredictionService", "Predict"),
        ("metadata", prediction_service_pb2, "PredictionService", "GetModelMetadata"),
        ("status", model_service_pb2, "ModelService", "GetModelStatus"),
    ],
)
def test_paths_and_types_of_the_calls(name, module, service, method):
    official = module.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    path, request, response = tensors._CALLS[name]
    assert path == f"/{official.containing_service.full_name}/{method}"
    assert (request.DESCRIPTOR.name, response.DESCRIPTOR.name) == (
        official.input_type.name,
        official.output_type.name,
    )


def test_request_is_read_by_the_official_api():
    request = wire_pb2.PredictRequest(
        model_spec=tensors.model_spec("m", 7, None, "decode"),
        inputs={"image_bytes": tensors.string_tensor([b"a\0", b"\xff"])},
    )
    official = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert (official.model_spec.name, official.model_spec.version.value) == ("m", 7)
    assert official.model_spec.signature_name == "decode"
    assert tf.make_ndarray(official.inputs["image_bytes"]).tolist() == [b"a\0", b"\xff"]


def test_label_goes_where_the_official_api_looks_for_it():
    spec = model_pb2.ModelSpec.FromString(
        tensors.model_spec("m", None, "canary").SerializeToString()
    )
    assert spec.WhichOneof("version_choice") == "version_label" and spec.version_label == "canary"
    newest = model_pb2.ModelSpec.FromString(tensors.model_spec("m", None, None).SerializeToString())
    assert newest.WhichOneof("version_choice") is None


def read(official: tensor_pb2.TensorProto) -> np.ndarray:
    return tensors.to_array(wire_pb2.TensorProto.FromString(official.SerializeToString()))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 3), (2, 0, 4), (2, 3, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_numbers_as_tensorflow_writes_them(shape, dtype):
    values = np.random.default_rng(0).integers(-50, 50, shape).astype(dtype)
    given = read(tf.make_tensor_proto(values))
    assert given.dtype == dtype
    np.testing.assert_array_equal(given, values)


def test_last_value_stands_for_the_missing_ones():
    official = tf.make_tensor_proto([1.0])
    official.tensor_shape.dim[0].size = 4
    np.testing.assert_array_equal(read(official), tf.make_ndarray(official))


@pytest.mark.parametrize(
    "values", [b"one", [b""], [b"a\0", b"\0"], [[b"a", b"b"], [b"", b"\xff\xfe"]]]
)
def test_strings_keep_every_byte(values):
    official = tf.make_tensor_proto(values, dtype=tf.string)
    given = read(official)
    assert given.shape == np.array(values, dtype=object).shape
    assert given.tolist() == values


def test_tensor_of_another_type_is_refused():
    with pytest.raises(ValueError, match="type number 2"):
        read(tf.make_tensor_proto([1.0], dtype=tf.float64))


def test_tensor_with_too_many_values_is_refused():
    official = tf.make_tensor_proto([1.0, 2.0])
    official.tensor_shape.dim[0].size = 1
    with pytest.raises(ValueError):
        read(official)


def hostile(dtype: int, *shape: int, **fields) -> wire_pb2.TensorProto:
    dims = [wire_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return wire_pb2.TensorProto(
        dtype=dtype, tensor_shape=wire_pb2.TensorShapeProto(dim=dims), **fields
    )


HOSTILE = {
    "33 dimensions": hostile(1, *[1] * 33, float_val=[1.0]),
    "10,000 dimensions": hostile(7, *[1] * 10_000, string_val=[b"a"]),
    "a dimension of -1": hostile(1, -1, float_val=[1.0]),
    "two dimensions of -2": hostile(1, -2, -2, float_val=[1.0, 2.0, 3.0, 4.0]),
    "2^64 values": hostile(1, 2**32, 2**32, float_val=[1.0]),
    "2^62 by nothing": hostile(1, 0, 2**62),
    "a billion floats": hostile(1, 10**9, float_val=[1.0]),
    "a billion strings": hostile(7, 10**9, string_val=[b"a"]),
    "a billion numbers in content": hostile(3, 10**9, tensor_content=b"abcd"),
    "no value for two": hostile(3, 2),
    "three values for two": hostile(9, 2, int64_val=[1, 2, 3]),
    "content of half a number": hostile(1, 1, tensor_content=b"ab"),
    "content for nothing": hostile(1, 0, tensor_content=b"abcd"),
    "strings in content": hostile(7, 1, tensor_content=b"\1a"),
    "type 77": hostile(77, 1),
    "no type": hostile(0, 1, float_val=[1.0]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_tensor_that_is_none_is_refused_in_one_line(name):
    tracemalloc.start()
    with pytest.raises(ValueError, match="^tensor of ") as caught:
        tensors.to_array(HOSTILE[name])
    allocated = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and allocated < 2_000_000


def test_metadata_that_is_none_is_refused():
    answer = wire_pb2.GetModelMetadataResponse()
    answer.metadata["signature_def"].value = b"\xff\xff"
    with pytest.raises(ValueError, match="no list of signatures"):
        tensors.signature_names(answer)


def test_signature_names_of_an_official_answer():
    answer = get_model_metadata_pb2.GetModelMetadataResponse()
    signatures = {
        name: meta_graph_pb2.SignatureDef()
        for name in ("greedy", "decode", "__saved_model_init_op")
    }
    answer.metadata["signature_def"].Pack(
        get_model_metadata_pb2.SignatureDefMap(signature_def=signatures)
    )
    mine = wire_pb2.GetModelMetadataResponse.FromString(answer.SerializeToString())
    assert tensors.signature_names(mine) == ("decode", "greedy")
