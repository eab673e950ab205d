"""The flags that name a model on a server, for every command that asks one."""

from dataclasses import dataclass
from typing import Any

from imgcap.config import Section, setting
from imgcap.errors import ConfigError
from imgcap.signature import DECODE, GREEDY, MODEL_NAME
from serving.client import DEFAULT_TARGET, Tls
from serving.client.address import parse_address


@dataclass(frozen=True)
class ConnectionConfig(Section):
    """Which model is asked, on which server, and how."""

    server: str = setting(
        DEFAULT_TARGET,
        "host:port of the model server; an IPv6 address in brackets, [::1]:8500.",
        required=True,
    )
    model: str = setting(MODEL_NAME, "Name of the model on the server.", required=True)
    model_version: int = setting(0, "A fixed version of the model; 0 is the newest.", minimum=0)
    label: str = setting(
        "", "A label that the server gives to a version, such as stable or canary."
    )
    signature: str = setting(
        DECODE,
        "How the model searches for a caption: decode is beam search; greedy is faster and a "
        "little worse.",
        choices=(DECODE, GREEDY),
    )
    timeout: float = setting(
        10.0, "Seconds that one image may take, retries included.", minimum=0.001
    )
    max_side: int = setting(
        0,
        "Shrink larger photographs before they are sent, to this many pixels at their longer side; "
        "0 sends files as they are. From twice the model's image_size on, the model sees the same "
        "picture.",
        minimum=0,
    )
    tls: bool = setting(False, "Speak TLS, trusting the authorities of this machine or --tls_ca.")
    tls_ca: str = setting(
        "", "PEM file of the authority that signed the server's certificate.", path=True
    )
    tls_certificate: str = setting(
        "", "PEM file of the client's own certificate, for servers that verify clients.", path=True
    )
    tls_key: str = setting("", "PEM file of the key to --tls_certificate.", path=True)

    def validate_combinations(self) -> None:
        """Checks the server's address."""
        check_server(self.server)


def check_server(address: str) -> None:
    """Raises ConfigError unless the value of --server is an address."""
    try:
        parse_address(address)
    except ConfigError as error:
        raise ConfigError(f"--server={error}") from None


@dataclass(frozen=True)
class LocalConfig(Section):
    """Captioning without a server."""

    local: bool = setting(
        False, "Ask no server: load a run and run TensorFlow in this process (extra `train`)."
    )
    workdir: str = setting(
        "",
        "With --local: run directory that imgcap-train wrote; empty is pretrained:flickr8k, the "
        "captioner in the box.",
        path=True,
    )

    def validate_combinations(self) -> None:
        """Refuses a run that nothing would load."""
        if self.workdir and not self.local:
            raise ConfigError(
                f"--workdir={self.workdir} is given without --local: a server names its own model"
            )


def client_arguments(config: ConnectionConfig) -> dict[str, Any]:
    """Makes the arguments of a client, blocking or awaitable, of the flags."""
    files = (config.tls_ca or None, config.tls_certificate or None, config.tls_key or None)
    return {
        "target": config.server,
        "model": config.model,
        "version": config.model_version or None,
        "label": config.label or None,
        "signature": config.signature,
        "timeout": config.timeout,
        "max_side": config.max_side or None,
        "tls": Tls(*files) if config.tls or any(files) else None,
    }
