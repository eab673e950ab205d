"""The versions of one model: found on disk, loaded, swapped while requests go on, and listed.

Policies and states are TensorFlow Serving's. Of the folders under the base path that are named with
a number, the policy says which are to be served: the newest, the newest few, all, or certain ones.
A new one is loaded and warmed beside the old and takes over only then, so no request meets a gap;
one that can't be loaded is tried again later, and the old one is served meanwhile.
"""

import gc
import logging
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.config.file_system_storage_path_source_pb2 import (
    FileSystemStoragePathSourceConfig,
)

from imgcap.errors import ServingError
from serving.server.models.base_path import require_versions
from serving.server.models.servable import LoadError, Servable
from serving.server.request_error import RequestError

Policy: TypeAlias = FileSystemStoragePathSourceConfig.ServableVersionPolicy

LOAD_RETRIES = 5
"""How often a version that can't be loaded is tried again, as --max_num_load_retries."""

LOAD_RETRY_SECONDS = 60.0
"""Pause before such a try, as --load_retry_interval_micros."""

_TELL_SECONDS = 2.0  # between two lines about one warm-up

log = logging.getLogger(__name__)


@dataclass
class VersionState:
    """The state of a version, as GetModelStatus reports it, and its failed loads.

    Attributes:
        state: a `ModelVersionStatus.State`.
        code: absl's status number; 0 if all is well.
        message: what went wrong; empty if nothing did.
        failures: how often it could not be loaded.
        retry_at: when it is tried again, on the monotonic clock.
    """

    state: int
    code: int = 0
    message: str = ""
    failures: int = 0
    retry_at: float = 0.0


class Versions:
    """The versions of a model under one base path.

    One thread at a time may change them (`load_first`, `poll`, `unload_all`); any number may read.
    """

    def __init__(
        self,
        model_name: str,
        base_path: Path,
        policy: Policy | None = None,
        on_loaded: Callable[[Path, Servable], None] = lambda path, servable: None,
        on_attempt: Callable[[Path, bool], None] = lambda path, loaded: None,
    ) -> None:
        """Loads nothing yet.

        Args:
            model_name: what requests call the model.
            base_path: the folder whose numbered subfolders are the versions.
            policy: which of them to serve; the newest by default.
            on_loaded: called with the folder of each version that is available.
            on_attempt: called with the folder of each version that was loaded, or could not be, and
                which of the two.
        """
        self.model_name, self.base_path, self.policy = model_name, base_path, policy or Policy()
        self._on_loaded, self._on_attempt = on_loaded, on_attempt
        # Replaced whole and never changed, so that readers take no lock.
        self._served: dict[int, Servable] = {}
        self._states: dict[int, VersionState] = {}
        self._cold: list[tuple[Path, Servable]] = []

    def load_first(self, warm_later: bool = False) -> None:
        """Loads the versions that the policy names; the server starts only with all of them.

        Args:
            warm_later: whether only the first warm-up request of each runs now, the one that a
                caller would wait for; `warm_up_next` runs the others.

        Raises:
            ServingError: no such folder, no version in it, or a broken one.
        """
        for version, path in sorted(self._wanted().items()):
            try:
                self._load(version, path, warm_later)
            except LoadError as error:
                raise self._broken(error) from None

    def warm_up_next(self) -> bool:
        """Runs one more warm-up request of what `load_first` loaded.

        Returns:
            Whether there was one.

        Raises:
            ServingError: it fails.
        """
        while self._cold:
            path, servable = self._cold[0]
            try:
                if servable.warm_up_next():
                    return True
            except LoadError as error:
                raise self._broken(error) from None
            self._on_loaded(path, servable)
            del self._cold[0]
        return False

    def poll(self) -> dict[int, str]:
        """Looks at the folder once: loads new versions, then unloads those not wanted any more.

        Returns:
            The versions that are wanted and could not be loaded, this time or earlier, and why.

        Raises:
            ServingError: the folder is gone or empty.
        """
        wanted = self._wanted()
        errors: dict[int, str] = {}
        for version, path in sorted(wanted.items()):
            if version in self._served:
                continue
            if not self._may_load(version):
                errors[version] = self._states[version].message
                continue
            try:
                self._load(version, path)
            except LoadError as error:
                errors[version] = str(error)
                log.warning(
                    "version %d is not taken, version %s goes on: %s",
                    version,
                    max(self._served, default=None),
                    error,
                    extra={"model": self.model_name, "version": version},
                )
        if set(self._served) & set(wanted):  # otherwise the old ones are all that can answer
            self._unload(set(self._served) - set(wanted))
        return errors

    def unload_all(self) -> None:
        """Unloads all versions; they stay listed as ended."""
        self._unload(set(self._served))

    def find(self, version: int | None) -> Servable:
        """Finds a version that is served.

        Args:
            version: its number; None is the newest.

        Raises:
            RequestError: it is not served.
        """
        served = self._served
        number = max(served, default=None) if version is None else version
        if number not in served:
            raise not_served(self.model_name, version)
        return served[number]

    @property
    def available(self) -> list[int]:
        """The numbers of the versions that are served, ascending."""
        return sorted(self._served)

    def statuses(self, spec: ModelSpec) -> list[ModelVersionStatus]:
        """Lists the states of all versions, or of the one that is asked for.

        Args:
            spec: a request's model, with or without a version.

        Returns:
            A message for each version, newest first; unloaded ones stay listed.

        Raises:
            RequestError: an unknown version.
        """
        states = dict(self._states)
        if spec.HasField("version"):
            number = spec.version.value
            if number not in states:
                raise RequestError(
                    grpc.StatusCode.NOT_FOUND,
                    f"Could not find version {number} of model {spec.name}",
                )
            states = {number: states[number]}
        return [_status(number, state) for number, state in sorted(states.items(), reverse=True)]

    def _wanted(self) -> dict[int, Path]:
        found = require_versions(self.base_path)
        chosen = choose(self.policy, sorted(found))
        if not chosen:
            named, there = (
                ", ".join(map(str, n)) for n in (self.policy.specific.versions, sorted(found))
            )
            raise ServingError(
                f"{self.base_path} has none of the versions that the policy names ({named}), only "
                f"{there}"
            )
        return {version: found[version] for version in chosen}

    def _may_load(self, version: int) -> bool:
        state = self._states.get(version)
        gave_up = state is not None and state.failures > LOAD_RETRIES
        return not gave_up and (state is None or time.monotonic() >= state.retry_at)

    def _broken(self, error: LoadError) -> ServingError:
        return ServingError(
            f"{error}: export it again with imgcap-export --output_dir={self.base_path}"
        )

    def _load(self, version: int, path: Path, warm_later: bool = False) -> None:
        state = self._states.setdefault(version, VersionState(ModelVersionStatus.START))
        state.state = ModelVersionStatus.LOADING
        where = {"model": self.model_name, "version": version}
        log.info("loading %s version %d from %s", self.model_name, version, path, extra=where)
        try:
            servable = Servable(path, _WarmupLog(self.model_name, version), warm_later)
        except LoadError as error:
            self._on_attempt(path, False)
            state.failures += 1
            state.retry_at = time.monotonic() + LOAD_RETRY_SECONDS
            if state.failures > LOAD_RETRIES:
                state.state = ModelVersionStatus.END
            state.code, state.message = grpc.StatusCode.UNKNOWN.value[0], str(error)
            raise
        self._on_attempt(path, True)
        if warm_later:
            self._cold.append((path, servable))
        else:
            self._on_loaded(path, servable)
        self._served = {**self._served, version: servable}
        self._states[version] = VersionState(ModelVersionStatus.AVAILABLE)
        log.info(
            "model %s version %d is available",
            self.model_name,
            version,
            extra=where,
        )

    def _unload(self, versions: set[int]) -> None:
        """Forgets versions; each ends when the last request that it answers is done."""
        if not versions:
            return
        for version in versions:
            self._states[version] = state = VersionState(ModelVersionStatus.UNLOADING)
            weakref.finalize(
                self._served[version], _end, self.model_name, version, state
            ).atexit = False
        self._served = {
            version: kept for version, kept in self._served.items() if version not in versions
        }
        # A loaded graph is full of cycles; its weights should not wait for a later collection.
        gc.collect()


class _WarmupLog:
    """Logs how far a warm-up is, not more than every few seconds."""

    def __init__(self, model_name: str, version: int) -> None:
        self._model_name, self._version, self._told = model_name, version, 0.0

    def __call__(self, done: int, total: int) -> None:
        """Is called before each request.

        Args:
            done: number of the requests that are done.
            total: number of all.
        """
        if time.monotonic() - self._told < _TELL_SECONDS:
            return
        self._told = time.monotonic()
        log.info(
            "warming up %s version %d: request %d of %d",
            self._model_name,
            self._version,
            done + 1,
            total,
            extra={"model": self._model_name, "version": self._version},
        )


def _end(model_name: str, version: int, state: VersionState) -> None:
    state.state = ModelVersionStatus.END
    log.info(
        "model %s version %d is unloaded",
        model_name,
        version,
        extra={"model": model_name, "version": version},
    )


def choose(policy: Policy, found: list[int]) -> list[int]:
    """Chooses the versions that a policy serves.

    Args:
        policy: the policy; an empty one means the newest version.
        found: the numbers of the versions that are there, rising.
    """
    if policy.WhichOneof("policy_choice") == "all":
        return found
    if policy.WhichOneof("policy_choice") == "specific":
        return [version for version in found if version in policy.specific.versions]
    return found[-(policy.latest.num_versions or 1) :]


def not_served(model_name: str, version: int | None) -> RequestError:
    """Makes the error for a model, or a version of one, that is not served."""
    wanted = f"Latest({model_name})" if version is None else f"Specific({model_name}, {version})"
    return RequestError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")


def _status(number: int, state: VersionState) -> ModelVersionStatus:
    status = ModelVersionStatus(version=number, state=state.state)
    status.status.error_code, status.status.error_message = state.code, state.message
    return status
