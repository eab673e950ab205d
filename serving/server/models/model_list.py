"""All models of a server; their list may be replaced while requests go on."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.config.model_server_config_pb2 import (
    ModelConfig,
    ModelConfigList,
    ModelServerConfig,
)

from imgcap.errors import ConfigError, ServingError
from imgcap.signature import MODEL_NAME
from serving.server.models.base_path import require_versions
from serving.server.models.servable import Servable
from serving.server.models.versions import Versions, not_served
from serving.server.request_error import RequestError, invalid
from serving.server.settings.text_protos import read_text_proto

log = logging.getLogger(__name__)


def one_model(base_path: Path, name: str = MODEL_NAME) -> ModelConfigList:
    """Makes the list of one model that --model_base_path and --model_name stand for."""
    config = ModelConfig(name=name, base_path=str(base_path), model_platform="tensorflow")
    return ModelConfigList(config=[config])


def read_model_list(path: Path) -> ModelConfigList:
    """Reads a --model_config_file.

    Raises:
        ConfigError: unreadable, empty, or a list that the server would refuse.
    """
    config = read_text_proto(path, ModelServerConfig())
    if not config.model_config_list.config:
        raise ConfigError(f"{path} lists no model: give model_config_list {{ config {{ … }} }}")
    try:
        check(config.model_config_list)
    except RequestError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config.model_config_list


def check(models: ModelConfigList) -> None:
    """Refuses the lists that the real server refuses (model_servers/server_core.cc).

    Raises:
        RequestError: two models of one name, no platform, or a relative base path.
    """
    names = [config.name for config in models.config]
    for config in models.config:
        if names.count(config.name) > 1:
            raise invalid(f"Illegal to list model {config.name} multiple times in config list")
        if not Path(config.base_path).is_absolute():
            raise invalid(
                f"Expected model {config.name} to have an absolute path or URI; got "
                f"base_path()={config.base_path}"
            )
        if config.model_platform != "tensorflow":
            raise invalid(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                "ModelServerConfig::model_platform."
            )


@dataclass(frozen=True)
class _Serving:
    """The models as requests see them, replaced whole, so that requests take no lock.

    Attributes:
        versions: the versions of each model, by its name.
        labels: by model and label, the number of the version.
        ended: models that were served once, by name; their versions stay listed.
    """

    versions: Mapping[str, Versions] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ended: Mapping[str, Versions] = field(default_factory=dict)


class Models:
    """The models of a server: loaded, found by requests, polled for new versions."""

    def __init__(
        self,
        allow_labels_for_unavailable: bool = False,
        on_loaded: Callable[[Path, Servable], None] = lambda path, servable: None,
        on_attempt: Callable[[Path, bool], None] = lambda path, loaded: None,
    ) -> None:
        """Loads nothing yet.

        Args:
            allow_labels_for_unavailable: whether there may be labels at the start, when no version
                is loaded yet; it changes nothing later.
            on_loaded: called with the folder of each version that is available.
            on_attempt: called with the folder of each version that was loaded, or could not be, and
                which of the two.
        """
        self._allow_labels = allow_labels_for_unavailable
        self._on_loaded, self._on_attempt = on_loaded, on_attempt
        self._serving = _Serving()
        self._changing = threading.Lock()
        self._stop = threading.Event()
        self._poller: threading.Thread | None = None

    def load_first(self, models: ModelConfigList, warm_later: bool = False) -> None:
        """Loads all models of the list, at the start.

        Args:
            models: the list.
            warm_later: whether each version runs only its first warm-up request now;
                `warm_up_rest` runs the others.

        Raises:
            ServingError: a folder without versions, a broken version, or labels if they are not
                allowed.
        """
        for config in models.config:
            # Of all models, before the seconds that the first one takes to load.
            require_versions(Path(config.base_path))
            for label, version in config.version_labels.items():
                if not self._allow_labels:
                    # As the real server does, in which nothing is loaded when it reads the labels.
                    raise ServingError(
                        f"label {label!r} of model {config.name} points at version {version}, "
                        "which is not loaded at the start: give "
                        "--allow_version_labels_for_unavailable_models"
                    )
        versions = {config.name: self._make_versions(config) for config in models.config}
        for loading in versions.values():
            loading.load_first(warm_later)
        self._serving = _Serving(versions, _labels(models))

    def warm_up_rest(self) -> None:
        """Runs the warm-up requests that `load_first` left, until there are none or `stop`.

        Raises:
            ServingError: one fails.
        """
        for versions in list(self._serving.versions.values()):
            while not self._stop.is_set() and versions.warm_up_next():
                pass

    def reload(self, models: ModelConfigList, seconds: float | None = None) -> None:
        """Replaces the list of models, their policies and their labels.

        New models are loaded, and those left out are unloaded.

        The real server waits for a base path that does not exist, for ever and with its lock held.
        Here that is an error, as is a version that can't be loaded, and nothing has changed then.

        Args:
            models: the new list.
            seconds: how long to wait for another change that is under way; None is for ever.

        Raises:
            RequestError: an impossible list, a version that can't be loaded, or a label without its
                version.
        """
        check(models)
        if not self._changing.acquire(timeout=-1 if seconds is None else max(seconds, 0)):
            raise RequestError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                "Another change of the configuration is under way",
            )
        try:
            self._replace(models)
        finally:
            self._changing.release()

    def find(self, spec: ModelSpec) -> Servable:
        """Finds the version that a request names.

        Raises:
            RequestError: an unknown model, version or label.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        serving, choice = self._serving, spec.WhichOneof("version_choice")
        version = spec.version.value if choice == "version" else None
        if choice == "version_label":
            version = serving.labels.get(spec.name, {}).get(spec.version_label)
            if version is None:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        if spec.name not in serving.versions:
            raise not_served(spec.name, version)
        return serving.versions[spec.name].find(version)

    def statuses(self, spec: ModelSpec) -> list[ModelVersionStatus]:
        """Lists the states of a model's versions; unloaded ones stay listed.

        Raises:
            RequestError: an unknown model or version.
        """
        serving = self._serving
        versions = serving.versions.get(spec.name) or serving.ended.get(spec.name)
        if versions is None:
            missing = (
                f"version {spec.version.value} of model {spec.name}"
                if spec.HasField("version")
                else f"any versions of model {spec.name}"
            )
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find {missing}")
        return versions.statuses(spec)

    def knows(self, name: str) -> bool:
        """Whether a model of that name is served."""
        return name in self._serving.versions

    @property
    def available(self) -> dict[str, list[int]]:
        """The numbers of the versions that are served, by model."""
        return {
            name: versions.available
            for name, versions in self._serving.versions.items()
            if versions.available
        }

    def start_polling(
        self, seconds: float, config_file: Path | None = None, config_seconds: float = 0.0
    ) -> None:
        """Looks for new versions, and for changes of the list, until `stop`.

        Args:
            seconds: time between two looks at the folders; 0 never looks.
            config_file: the file of the list, a ModelServerConfig.
            config_seconds: time between two looks at that file; 0 never looks.
        """
        config_file = config_file if config_seconds else None
        known = config_file.read_bytes() if config_file else b""
        waits = [wait for wait in (seconds, config_seconds if config_file else 0) if wait]
        if not waits:
            return
        self._poller = threading.Thread(
            target=self._watch,
            args=(min(waits), seconds > 0, config_file, known),
            name="models",
            daemon=True,
        )
        self._poller.start()

    def poll(self) -> None:
        """Looks once for new versions of every model."""
        with self._changing:
            for versions in self._serving.versions.values():
                try:
                    versions.poll()
                except ServingError as error:  # the folder is gone; loaded versions still serve
                    log.warning("%s", error, extra={"model": versions.model_name})

    def stop(self) -> None:
        """Ends the polling; a load under way is finished first."""
        self._stop.set()
        if self._poller is not None:
            self._poller.join()

    def _replace(self, models: ModelConfigList) -> None:
        """Loads first, and changes what is served only when all is loaded.

        As in the real server, a list with a label that can't be given is refused whole: a version
        that it adds is not loaded, and the same list fails again. A new version and its label
        need two lists, one after the other.
        """
        old = self._serving
        for config in models.config:
            self._check_labels(config)
            _must_have_versions(config)
        new = {config.name: self._keep_or_make(config) for config in models.config}
        policies = {name: versions.policy for name, versions in new.items()}
        for config in models.config:
            new[config.name].policy = config.model_version_policy
        try:
            _load_all(new)
        except RequestError:
            for name, versions in new.items():
                versions.policy = policies[name]  # what was loaded already goes at the next look
            raise
        ended = {
            name: versions
            for name, versions in old.versions.items()
            if new.get(name) is not versions
        }
        self._serving = _Serving(new, _labels(models), {**old.ended, **ended})
        for versions in ended.values():
            versions.unload_all()

    def _check_labels(self, config: ModelConfig) -> None:
        """Refuses a label of a version that is not served before the change."""
        served = self._serving.versions.get(config.name)
        for number in config.version_labels.values():
            if served is None or number not in served.available:
                raise RequestError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {number} of model {config.name}, which is "
                    "not currently available for inference",
                )

    def _keep_or_make(self, config: ModelConfig) -> Versions:
        known = self._serving.versions.get(config.name)
        return (
            known
            if known and str(known.base_path) == config.base_path
            else self._make_versions(config)
        )

    def _make_versions(self, config: ModelConfig) -> Versions:
        return Versions(
            config.name,
            Path(config.base_path),
            config.model_version_policy,
            self._on_loaded,
            self._on_attempt,
        )

    def _watch(self, seconds: float, folders: bool, config_file: Path | None, known: bytes) -> None:
        while not self._stop.wait(seconds):
            if config_file:
                known = self._reload_file(config_file, known)
            if folders:
                self.poll()

    def _reload_file(self, path: Path, known: bytes) -> bytes:
        """Takes a changed list, or reports a wrong one and keeps the old.

        Returns:
            The content that was taken; of a wrong list the old content, so that the next look tries
            again.
        """
        try:
            text = path.read_bytes()
            if text != known:
                self.reload(read_model_list(path))
                log.info("%s is taken", path)
            return text
        except (OSError, ConfigError, RequestError) as error:
            log.warning("%s is not taken, the old list goes on: %s", path, error)
            return known


def _labels(models: ModelConfigList) -> dict[str, dict[str, int]]:
    return {config.name: dict(config.version_labels) for config in models.config}


def _load_all(models: Mapping[str, Versions]) -> None:
    """Loads all versions that are wanted; raises in the real server's words if one can't be."""
    failed = []
    for name, versions in models.items():
        try:
            errors = versions.poll()
        except ServingError as error:  # none of the versions that the policy names
            raise RequestError(grpc.StatusCode.NOT_FOUND, str(error)) from None
        failed += [
            f"{{{{name: {name} version: {version}}} due to error: {error}}}}}, "
            for version, error in errors.items()
        ]
    if failed:
        raise RequestError(
            grpc.StatusCode.UNKNOWN,
            f"{len(failed)} servable(s) did not become available: {{{''.join(failed)}}}",
        )


def _must_have_versions(config: ModelConfig) -> None:
    path = Path(config.base_path)
    if not path.is_dir():
        raise RequestError(
            grpc.StatusCode.NOT_FOUND, f"Could not find base path {path} for servable {config.name}"
        )
    try:
        require_versions(path)
    except ServingError:
        raise RequestError(
            grpc.StatusCode.NOT_FOUND,
            f"No versions of servable {config.name} found under base path {path}. Did you forget "
            "to name your leaf directory as a number (eg. '/1/')?",
        ) from None
