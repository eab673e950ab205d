"""The sidebar: which model server the page asks, and whether that server is ready."""

import html
import os
from typing import NamedTuple

import streamlit as st

from imgcap.errors import ConfigError, ServingError
from imgcap.signature import DECODE_DETAILS, GREEDY, MODEL_NAME
from serving.client import (
    DEFAULT_TARGET,
    CaptionClient,
    DeadlineExceeded,
    ServerUnavailable,
    Tls,
)
from serving.client.address import parse_address
from serving.client.errors import ProxyFailed
from serving.page.messages import explain, show_note
from serving.page.options import AUTHORITY_VARIABLE, SERVER_VARIABLE

STATUS_SECONDS = 2.0
"""A visitor should not wait long to learn that nobody answers."""


class Settings(NamedTuple):
    """Which model the page asks; the arguments of its client.

    Attributes:
        target: host:port of the model server.
        model: name of the model on the server.
        version: a version number or a label; empty is the newest version.
        signature: the model's function to call, "decode_details" or "greedy".
    """

    target: str
    model: str
    version: str
    signature: str


def choose_settings() -> Settings:
    """Draws the sidebar and returns what the visitor set there."""
    with st.sidebar:
        st.subheader("Settings")
        target = st.text_input(
            "Model server", os.environ.get(SERVER_VARIABLE, DEFAULT_TARGET), key="server"
        )
        model = st.text_input("Model", MODEL_NAME, key="model")
        version = st.text_input("Version or label", "", key="version", placeholder="newest")
        search = st.radio(
            "Search",
            ["Beam", "Greedy"],
            key="search",
            horizontal=True,
            help="Beam search weighs several captions, and shows how sure it is of each word; "
            "greedy takes the likeliest word and is faster.",
        )
    signature = DECODE_DETAILS if search == "Beam" else GREEDY
    return Settings(target.strip(), model.strip(), version.strip(), signature)


def find_version(settings: Settings) -> int:
    """Asks the server which version will answer, and shows whether it is ready.

    Returns:
        The newest available version; 0 if there is none, and the page then says why and what to do.
    """
    version, problem, command = 0, "", ""
    try:
        states = connect(settings, timeout=STATUS_SECONDS).status()
        version = max((state.version for state in states if state.state == "AVAILABLE"), default=0)
        if not version:
            problem = f"The model “{settings.model}” is still loading. Try again in a moment."
    except ConfigError as error:
        problem = f"{error}."
    except ProxyFailed as error:
        problem = f"{error}."
    except (ServerUnavailable, DeadlineExceeded):
        problem = f"No model server answers at {settings.target}. This starts one:"
        command = start_command(settings)
    except ServingError as error:
        problem = explain(error)
    _show_state(f"{settings.model} version {version} is ready" if version else "")
    if problem:
        show_note(problem)
        if command:
            st.code(command, language=None, wrap_lines=True)  # its colours have too little contrast
        st.button("Try again", key="again")
    return version


def start_command(settings: Settings) -> str:
    """Builds the command line that starts a server at the address that was asked.

    A model of the default name is that of the captioner in the box, which needs no export.
    """
    asked, default = map(parse_address, (settings.target, DEFAULT_TARGET))
    flag = f" --port={asked.port}" if asked.port not in (0, default.port) else ""
    flag += f" --host={asked.host}" if ":" in asked.host else ""
    export = "" if settings.model == MODEL_NAME else f" --model_base_path=MODELS/{settings.model}"
    return f"imgcap-serve{export}{flag}"


@st.cache_resource(max_entries=16, show_spinner=False)
def connect(settings: Settings, timeout: float) -> CaptionClient:
    """Makes a client that all visits share.

    That is safe: threads can use one channel together, and it finds a restarted server.

    Args:
        settings: which model to ask.
        timeout: seconds that a call may take.
    """
    number = int(settings.version) if settings.version.isdecimal() else None
    label = settings.version if settings.version and number is None else None
    authority = os.environ.get(AUTHORITY_VARIABLE)
    return CaptionClient(
        settings.target,
        settings.model,
        number,
        label,
        settings.signature,
        timeout=timeout,
        tls=Tls(ca=authority) if authority else None,
    )


def _show_state(ready: str) -> None:
    """Shows a green dot with the text, or a red one if the text is empty."""
    style = "imgcap-ready" if ready else "imgcap-ready imgcap-away"
    with st.sidebar:
        st.html(f'<p class="{style}">{html.escape(ready or "not ready")}</p>')
