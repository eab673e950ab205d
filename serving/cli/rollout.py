"""imgcap-rollout: a new version behind its labels, step by step, and the way back."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgcap.cli import command
from imgcap.config import Section, setting
from imgcap.errors import ConfigError, ServingError
from imgcap.files import write_text
from imgcap.files.model_folder import find_versions
from serving.cli.connection import ConnectionConfig, client_arguments
from serving.client import CaptionClient
from serving.client.connection import encode
from serving.server.settings.model_file import Listed, base_path, read_listed, write_listed

STEPS = ("loaded", "canary", "stable", "alone")
"""The ends of a rollout, in order: each step needs those before it."""

# Seconds between two looks at the server.
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class RolloutConfig(Section):
    """Which list of models is edited, and how far."""

    model_config_file: str = setting(
        "",
        "The list that the server reads (its --model_config_file, with "
        "--model_config_file_poll_wait_seconds above 0).",
        required=True,
        path=True,
    )
    until: str = setting(
        "stable",
        "Last step: loaded, canary (the canary label names the new version), stable (so does the "
        "stable label), alone (versions without a label are taken out). Run again to go on.",
        choices=STEPS,
    )
    rollback: bool = setting(
        False, "Set labels and versions back to what they were before the last rollout."
    )
    canary_label: str = setting("canary", "Label that moves first; empty for none.")
    stable_label: str = setting("stable", "Label that moves last.", required=True)
    photo: str = setting(
        "", "Photograph that the new version must caption before each label moves.", path=True
    )
    watch_seconds: float = setting(
        0.0,
        "With --photo: seconds for which the canary is asked for captions before the stable label "
        "moves.",
        minimum=0.0,
    )
    step_seconds: float = setting(
        120.0, "Seconds that the server may take for one step.", minimum=0.001
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The console command; see `imgcap-rollout --help`."""
    return command.main(COMMAND, argv)


def rollout(
    config: RolloutConfig, connection: ConnectionConfig, _arguments: Sequence[str] = ()
) -> None:
    """Rolls a version out, or the last rollout back.

    Raises:
        ConfigError: a list that cannot be read or edited, or flags that exclude each other.
        ServingError: a step failed; all is then as it was before, as far as the server answers.
    """
    if connection.label:
        raise ConfigError("--label is of no use here: give --canary_label or --stable_label")
    if config.watch_seconds and not config.photo:
        raise ConfigError("--watch_seconds needs a --photo to ask for captions of")
    road = _Road(config, connection)
    if config.rollback:
        road.roll_back()
        return
    version = connection.model_version or road.newest()
    try:
        road.roll_out(version)
    except ServingError as error:
        print(f"version {version} fails, rolling back", flush=True)
        try:
            road.roll_back()
        except (ServingError, ConfigError) as second:
            raise ServingError(f"{error}; the rollback failed, too: {second}") from None
        raise ServingError(f"{error}; all labels are back where they were") from None


class StepFailed(ServingError):
    """A step of a rollout that waiting does not mend."""


class _Road:
    """The steps of a rollout and of the way back, each an edit and then a wait for the server.

    A server refuses a list whole if a label in it names a version that is not loaded yet. So a
    version is listed first, labels move when it is available, and only a version without a label is
    taken out.
    """

    def __init__(self, config: RolloutConfig, connection: ConnectionConfig) -> None:
        """Asks nothing yet.

        Raises:
            BadImage: the photograph cannot be read.
        """
        self._config, self._model = config, connection.model
        # A link stays a link: the file that it names is replaced.
        self._path = Path(config.model_config_file).resolve()
        self._arguments = client_arguments(connection) | {"version": None}
        self._photo = encode(config.photo) if config.photo else None
        self.read()

    @property
    def before(self) -> Path:
        """A copy of the list as it was before the last rollout of this model."""
        return self._path.with_name(f"{self._path.name}.{self._model}.before")

    def read(self) -> str:
        """Reads the list.

        Raises:
            ConfigError: it cannot be read, or does not list the model.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
            read_listed(text, self._model)
            return text
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise ConfigError(f"{self._path} can't be read ({reason})") from None
        except ConfigError as error:
            raise ConfigError(f"{self._path}: {error}") from None

    def newest(self) -> int:
        """The newest version in the model's folder.

        Raises:
            ConfigError: the folder is not on this machine.
        """
        folder = base_path(self.read(), self._model)
        versions = find_versions(Path(folder))
        if not versions:
            raise ConfigError(
                f"no version is found in {folder} on this machine: give --model_version"
            )
        return max(versions)

    def roll_out(self, version: int) -> None:
        """Goes the steps to the one that was asked for.

        Raises:
            ServingError: a step failed.
        """
        config, listed = self._config, self._fix_versions()
        assert listed.versions is not None
        if version not in listed.versions or not self.before.exists():
            write_text(self.before, self.read())
        last = STEPS.index(config.until)
        self._list_versions({*listed.versions, version})
        self._check(version)
        if last >= STEPS.index("canary") and config.canary_label:
            self._label({**listed.labels, config.canary_label: version})
            self._watch(version)
        if last >= STEPS.index("stable"):
            labels = {**self._listed().labels, config.stable_label: version}
            self._label(labels)
        if last >= STEPS.index("alone"):
            self._list_versions({version, *self._listed().labels.values()})
        print(f"version {version} is rolled out ({config.until})", flush=True)

    def roll_back(self) -> None:
        """Goes back to the list before the last rollout, in an order that the server takes.

        Raises:
            ConfigError: there was no rollout.
            ServingError: a step failed.
        """
        try:
            old = read_listed(self.before.read_text(encoding="utf-8"), self._model)
        except FileNotFoundError:
            raise ConfigError(f"{self.before} is missing: there is no rollout to take back") from (
                None
            )
        assert old.versions is not None
        now = self._fix_versions()
        assert now.versions is not None
        missing = set(old.versions) - set(now.versions)
        if missing:  # never together with a version that may be the reason to go back
            served = {*old.versions, *now.labels.values()}
            self._list_versions(served)
        self._label(old.labels)
        self._list_versions(set(old.versions))
        self.before.unlink()
        print(f"rolled back to version {' and '.join(map(str, old.versions))}", flush=True)

    def _listed(self) -> Listed:
        return read_listed(self.read(), self._model)

    def _fix_versions(self) -> Listed:
        """Names the versions that are served in the list, if its policy chooses them otherwise.

        By other policies a new version would take over at once, or come back after a rollback.
        """
        listed = self._listed()
        if listed.versions is None:
            with CaptionClient(**self._arguments) as client:
                served = [entry.version for entry in client.status() if entry.state == "AVAILABLE"]
            self._write(listed._replace(versions=tuple(served)))
        return self._listed()

    def _write(self, listed: Listed) -> None:
        try:
            write_text(self._path, write_listed(self.read(), self._model, listed))
        except OSError as error:
            raise ServingError(f"{self._path} can't be written ({error.strerror})") from None

    def _list_versions(self, versions: set[int]) -> None:
        """Lists these versions and waits until they are served and no others."""
        listed = self._listed()
        known = self._messages()
        if set(listed.versions or ()) != versions:
            self._write(listed._replace(versions=tuple(sorted(versions))))
            print(f"{self._path.name} lists {' and '.join(map(str, sorted(versions)))}", flush=True)

        def served(client: CaptionClient) -> bool:
            entries = client.status()
            for entry in entries:
                # A message from before the edit may be of an earlier attempt.
                if entry.version in versions and entry.message != known.get(entry.version, ""):
                    raise StepFailed(f"version {entry.version} cannot be loaded: {entry.message}")
            return {entry.version for entry in entries if entry.state == "AVAILABLE"} == versions

        self._wait(served, f"does not serve just {' and '.join(map(str, sorted(versions)))}")

    def _messages(self) -> dict[int, str]:
        with CaptionClient(**self._arguments) as client:
            return {entry.version: entry.message for entry in client.status()}

    def _label(self, labels: Mapping[str, int]) -> None:
        """Moves the labels and waits until the server knows them."""
        listed = self._listed()
        if dict(listed.labels) != dict(labels):
            self._write(listed._replace(labels=labels))
            moved = sorted(set(labels.items()) - set(listed.labels.items()))
            told = ", ".join(f"{label} names {version}" for label, version in moved)
            print(f"{self._path.name}: {told or 'a label is taken out'}", flush=True)
        for label, version in labels.items():
            self._wait_for_label(label, version)

    def _wait_for_label(self, label: str, version: int) -> None:
        self._wait(
            lambda client: client.version_now() == version,
            f"does not give {label} to version {version}",
            label,
        )

    def _wait(
        self, condition: Callable[[CaptionClient], bool], missing: str, label: str | None = None
    ) -> None:
        """Waits until a condition holds of the server.

        Raises:
            ServingError: it does not in time, or a version cannot be loaded.
        """
        end = time.monotonic() + self._config.step_seconds
        with CaptionClient(**self._arguments | {"label": label}) as client:
            while True:
                try:
                    if condition(client):
                        return
                    last = ""
                except StepFailed:
                    raise
                except ServingError as error:  # the server is busy, or does not know the label yet
                    last = f" ({error})"
                if time.monotonic() > end:
                    raise ServingError(
                        f"after {self._config.step_seconds:g} s {client.target} still {missing}"
                        f"{last}: see its log, and whether it reads {self._path} "
                        "(--model_config_file_poll_wait_seconds)"
                    )
                time.sleep(_LOOK_SECONDS)

    def _check(self, version: int) -> None:
        """Asks a version for the caption of the photograph, if there is one."""
        if self._photo is not None:
            with CaptionClient(**self._arguments | {"version": version}) as client:
                print(f"version {version}: {client.caption(self._photo).text}", flush=True)

    def _watch(self, version: int) -> None:
        """Asks the canary for captions for a while."""
        if self._photo is None:
            return
        end, asked = time.monotonic() + self._config.watch_seconds, 0
        label = self._config.canary_label
        with CaptionClient(**self._arguments | {"label": label}) as client:
            while time.monotonic() < end or not asked:
                found = client.caption(self._photo).version
                if found != version:
                    raise StepFailed(f"{label} answers by version {found}, not {version}")
                asked += 1
        print(f"{label} has answered {asked} requests", flush=True)


COMMAND = command.Command(
    name="imgcap-rollout",
    summary=(
        "Rolls a version out on a running server: edits its list of models step by step, waits for "
        "the server after each, and goes back if one fails. --model_version is the new version; 0 "
        "is the newest in the model's folder."
    ),
    sections=(RolloutConfig, ConnectionConfig),
    run=rollout,
)
