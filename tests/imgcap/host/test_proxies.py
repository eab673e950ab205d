"""Proxies: TensorFlow's services on this machine are reached without one."""

import os
import socket

import pytest
import tensorflow as tf

from imgcap.config import DataServiceConfig
from imgcap.data import data_service
from imgcap.host.proxies import keep_local_calls_direct
from tests.support.servers import free_port

HERE = f"localhost,127.0.0.1,::1,{socket.gethostname()}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"no_proxy": "a"}, None),
        ({"http_proxy": "http://p:3"}, HERE),
        ({"https_proxy": "http://p:3", "no_proxy": "a,b"}, f"a,b,{HERE}"),
        ({"grpc_proxy": "http://p:3", "no_proxy": "a", "no_grpc_proxy": "c"}, f"c,{HERE}"),
    ],
)
def test_this_machine_is_added_to_what_is_reached_directly(
    given: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    keep_local_calls_direct()
    variable = "no_grpc_proxy"
    found = os.environ.get(variable)
    monkeypatch.delenv(variable, raising=False)
    assert found == expected


def test_a_data_service_answers_although_a_proxy_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_grpc_proxy", "")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    keep_local_calls_direct()
    with data_service.running(DataServiceConfig(port=free_port(), worker_port=0)) as address:
        numbers = tf.data.Dataset.range(3).apply(
            tf.data.experimental.service.distribute("parallel_epochs", address)
        )
        assert list(numbers.as_numpy_iterator()) == [0, 1, 2]
