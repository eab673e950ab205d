"""A session and functions run one model alike."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from serving.server.models.running import load_functions, load_session
from serving.server.models.servable import read_signature_defs
from serving.server.request_error import RequestError
from tests.support.toy_model import write_toy_model


def test_a_session_and_functions_answer_alike(tmp_path: Path) -> None:
    folder = write_toy_model(tmp_path / "1")
    definitions = read_signature_defs(folder)
    session, functions = load_session(folder, definitions), load_functions(folder)
    assert set(session) == set(functions) == set(definitions) - {"__saved_model_init_op"}
    rows = {"image_bytes": np.array([b"text", b"bad", b"more text"], object)}
    expected = functions["decode"](rows)
    found = session["decode"](rows)
    assert set(found) == set(expected)
    for alias, array in expected.items():
        assert found[alias].dtype == array.dtype
        np.testing.assert_array_equal(found[alias], array, err_msg=alias)
    for run in (session["raises"], functions["raises"]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Unknown image file format"):
            run(rows)
    with pytest.raises(
        RequestError, match=r"Shape of tensor image_bytes \[2,1\] is not .* expected shape \[\?\]"
    ):
        session["decode"]({"image_bytes": np.full([2, 1], b"", object)})
