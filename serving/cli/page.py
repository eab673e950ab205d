"""imgcap-page: the page, started by Streamlit wherever the package is installed."""

import importlib.util
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgcap.cli import command
from imgcap.config import Section, setting
from imgcap.errors import ConfigError
from serving.cli.connection import check_server
from serving.client import DEFAULT_TARGET
from serving.page.options import AUTHORITY_VARIABLE, SERVER_VARIABLE, STREAMLIT_OPTIONS

SCRIPT = Path(__file__).parents[1] / "page" / "script.py"

_PATH = re.compile(r"(?!\.)[A-Za-z0-9._-]+(/(?!\.)[A-Za-z0-9._-]+)*")


@dataclass(frozen=True)
class PageConfig(Section):
    """Where the page listens, and which model server it asks at first."""

    server: str = setting(
        "",
        f"host:port of the model server that the page asks; empty is {SERVER_VARIABLE} of the "
        f"environment, else {DEFAULT_TARGET}.",
    )
    tls_ca: str = setting(
        "",
        "PEM file of the authority that signed the server's certificate: the page then speaks TLS; "
        f"empty is {AUTHORITY_VARIABLE} of the environment, else plain text.",
        path=True,
    )
    port: int = setting(8501, "Port of the page.", minimum=1, maximum=65535)
    host: str = setting(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 is every one of this machine.",
        required=True,
    )
    base_url_path: str = setting(
        "",
        "Path under which a reverse proxy offers the page, such as captions for "
        "https://example.org/captions/; the proxy passes the path on, and WebSockets too.",
    )
    open_browser: bool = setting(True, "Open the page in this machine's browser, if it has one.")

    def validate_combinations(self) -> None:
        """Checks the server's address, if there is one, and the path.

        Raises:
            ConfigError: one of them is none.
        """
        if self.server:
            check_server(self.server)
        if self.base_url_path and not _PATH.fullmatch(self.base_url_path.strip("/")):
            raise ConfigError(
                f"--base_url_path={self.base_url_path} is no path of letters, digits, '-', '_' "
                "and '.', such as captions or a/captions"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """The console command; see `imgcap-page --help`."""
    return command.main(COMMAND, argv)


def start_page(config: PageConfig, _arguments: Sequence[str] = ()) -> int:
    """Runs the page until Ctrl-C.

    Raises:
        ConfigError: Streamlit is not installed, or --tls_ca can't be found.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise ConfigError("the page needs Streamlit: pip install 'imgcap-tf[app]'")
    if config.tls_ca and not Path(config.tls_ca).is_file():
        raise ConfigError(f"--tls_ca={config.tls_ca} does not exist")
    from streamlit.web import cli

    os.environ.update(page_environment(config))
    cli.main(streamlit_arguments(config), prog_name=COMMAND.name, standalone_mode=False)
    return 0


def page_environment(config: PageConfig) -> dict[str, str]:
    """The environment variables that tell the page what the flags say."""
    given = {SERVER_VARIABLE: config.server, AUTHORITY_VARIABLE: config.tls_ca}
    return {name: value for name, value in given.items() if value}


def streamlit_arguments(config: PageConfig) -> list[str]:
    """The command line of Streamlit, without the program's name."""
    options: dict[str, str | int] = {
        **STREAMLIT_OPTIONS,
        "server.address": config.host,
        "server.port": config.port,
        "server.baseUrlPath": config.base_url_path.strip("/"),
        "server.fileWatcherType": "none",  # an installed page is not edited while it runs
    }
    if not config.open_browser:
        options["server.headless"] = True
    words = [f"--{name}={_word(value)}" for name, value in options.items()]
    return ["run", str(SCRIPT), *words]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


COMMAND = command.Command(
    name="imgcap-page",
    summary="Starts the page in a browser: photographs in, captions out. It asks a running model "
    "server and needs no TensorFlow.",
    sections=(PageConfig,),
    run=start_page,
)
