"""Classify, Regress and MultiInference on outputs that are not what they promise."""

import numpy as np
import pytest
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from serving.server.models.calls import Call, any_shapes
from serving.server.models.examples import (
    MULTI_INFERENCE,
    answer_classify,
    answer_regress,
)
from serving.server.request_error import RequestError
from tests.serving.server.contract.requests import FLOAT, STRING, example, spec


class Stub:
    """A model of two signatures that share their input."""

    version, max_rows = 3, None

    def __init__(self) -> None:
        self.signature_defs = {"sort": SignatureDef(), "price": SignatureDef()}
        for signature in self.signature_defs.values():
            signature.inputs["inputs"].name, signature.inputs["inputs"].dtype = "rows:0", STRING
        self.signature_defs["sort"].outputs["classes"].dtype = STRING
        self.signature_defs["sort"].outputs["scores"].dtype = FLOAT
        self.signature_defs["price"].outputs["outputs"].dtype = FLOAT


def strings(*values: bytes) -> np.ndarray:
    return np.array(values, object)


ROWS = {"inputs": strings(b"", b"")}
CLASSES, SCORES = strings(b"a", b"b", b"c", b"d").reshape(2, 2), np.zeros([2, 2], np.float32)
NO_CLASSES = {
    "of one axis": (
        dict(classes=strings(b"a", b"b"), scores=SCORES),
        "Expected Tensor shape: [batch_size num_classes] but got [2]",
    ),
    "of numbers": (
        dict(classes=SCORES, scores=SCORES),
        "Expected classes Tensor of DT_STRING. Got: DT_FLOAT",
    ),
    "of too few rows": (
        dict(classes=CLASSES[:1], scores=SCORES),
        "Expected classes output batch size of 2. Got: 1",
    ),
    "scores of one axis": (
        dict(classes=CLASSES, scores=SCORES[0]),
        "Expected Tensor shape: [batch_size num_classes] but got [2]",
    ),
    "scores of another type": (
        dict(classes=CLASSES, scores=SCORES.astype(np.float64)),
        "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE",
    ),
    "scores of too many rows": (
        dict(classes=CLASSES, scores=np.zeros([3, 2], np.float32)),
        "Expected scores output batch size of 2. Got: 3",
    ),
    "not as many of both": (
        dict(classes=CLASSES, scores=np.zeros([2, 5], np.float32)),
        "Tensors class and score should match in dim_size(1). Got 2 vs. 5",
    ),
}


@pytest.mark.parametrize("name", NO_CLASSES)
def test_classes_that_are_none(name):
    outputs, text = NO_CLASSES[name]
    call = Call("sort", ROWS, ["classes", "scores"])
    with pytest.raises(RequestError) as caught:
        answer_classify(Stub(), ClassificationRequest(), [call], [outputs])
    assert caught.value.details == text


@pytest.mark.parametrize("alone", ["classes", "scores"])
def test_either_of_classes_and_scores_is_enough(alone):
    outputs = {"classes": CLASSES, "scores": SCORES + 0.5}
    answer = answer_classify(
        Stub(), ClassificationRequest(), [Call("sort", ROWS, [alone])], [outputs]
    )
    found = [[(c.label, c.score) for c in row.classes] for row in answer.result.classifications]
    if alone == "classes":
        assert found == [[("a", 0.0), ("b", 0.0)], [("c", 0.0), ("d", 0.0)]]
    else:
        assert found == [[("", 0.5), ("", 0.5)]] * 2


NO_VALUES = {
    "of two axes": (
        SCORES,
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
    ),
    "of none": (
        np.float32(1),
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got []",
    ),
    "too many": (
        np.zeros(3, np.float32),
        "Input batch size did not match output batch size: 2 vs. 3",
    ),
    "integers": (np.zeros(2, np.int64), "Expected output Tensor of DT_FLOAT.  Got: DT_INT64"),
}


@pytest.mark.parametrize("name", NO_VALUES)
def test_values_that_are_none(name):
    values, text = NO_VALUES[name]
    call = Call("price", ROWS, ["outputs"])
    with pytest.raises(RequestError) as caught:
        answer_regress(Stub(), RegressionRequest(), [call], [{"outputs": values}])
    assert caught.value.details == text


def test_values_in_one_column():
    outputs = {"outputs": np.array([[1.0], [2.0]], np.float32)}
    call = Call("price", ROWS, ["outputs"])
    answer = answer_regress(Stub(), RegressionRequest(), [call], [outputs])
    assert [each.value for each in answer.result.regressions] == [1.0, 2.0]


def test_two_tasks_on_the_same_examples():
    request = MultiInferenceRequest()
    for name, method in (("sort", "classify"), ("price", "regress")):
        request.tasks.add(
            model_spec=spec(signature_name=name), method_name=f"tensorflow/serving/{method}"
        )
    request.input.example_list.examples.extend([example(0.5), example(1.0)])
    calls = MULTI_INFERENCE.parse(Stub(), request, any_shapes)
    assert [call.signature_name for call in calls] == ["sort", "price"]
    rows = [example(0.5).SerializeToString(), example(1.0).SerializeToString()]
    assert [call.inputs["inputs"].tolist() for call in calls] == [rows, rows]
    outputs = [
        {"classes": CLASSES, "scores": SCORES},
        {"outputs": np.array([5.0, 10.0], np.float32)},
    ]
    sort, price = MULTI_INFERENCE.answer(Stub(), request, calls, outputs).results
    assert sort.classification_result.classifications[1].classes[0].label == "c"
    assert [each.value for each in price.regression_result.regressions] == [5.0, 10.0]
    assert (price.model_spec.signature_name, price.model_spec.version.value) == ("price", 3)


TASKS = {
    "another model": (spec("letter", signature_name="price"), "access the same model name."),
    "no model": (spec("", signature_name="price"), "Found ModelSpec with an empty model name."),
    "the same signature": (spec(signature_name="sort"), "Duplicate evaluation of signature: sort"),
}


@pytest.mark.parametrize("name", TASKS)
def test_second_task_that_does_not_go_with_the_first(name):
    second, text = TASKS[name]
    request = MultiInferenceRequest()
    request.tasks.add(
        model_spec=spec(signature_name="sort"), method_name="tensorflow/serving/classify"
    )
    request.tasks.add(model_spec=second, method_name="tensorflow/serving/regress")
    request.input.example_list.examples.append(example(0.5))
    with pytest.raises(RequestError) as caught:
        MULTI_INFERENCE.parse(Stub(), request, any_shapes)
    assert caught.value.details.endswith(text)
