"""A server of the small model, for the questions over gRPC and over REST."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.server.contract.parcel_model import NAME, write_parcel_model
from tests.serving.server.contract.rest_questions import Ask, asker
from tests.support.servers import KINDS, Running, running


@pytest.fixture(scope="session")
def models_config(tmp_path_factory) -> Path:
    """A list of models that names all versions of the small model."""
    base_path = write_parcel_model(tmp_path_factory.mktemp("contract") / NAME)
    path = base_path.parent / "models.config"
    path.write_text(
        f'model_config_list {{ config {{ name: "{NAME}" base_path: "{base_path}" '
        'model_platform: "tensorflow" model_version_policy { all {} } } }'
    )
    return path


@pytest.fixture(scope="session", params=KINDS)
def parcels_server(request, models_config) -> Iterator[Running]:
    """The addresses of a server that holds both versions of the small model."""
    with running(request.param, model_config_file=str(models_config)) as addresses:
        yield addresses


@pytest.fixture(scope="session")
def ask(parcels_server) -> Ask:
    """A function that asks the server one question over REST."""
    return asker(parcels_server.http)
