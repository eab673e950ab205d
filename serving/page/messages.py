"""What went wrong, in plain sentences for a visitor."""

import html

import streamlit as st

from imgcap.errors import ServingError
from serving.client import (
    BadImage,
    DeadlineExceeded,
    ModelNotFound,
    Overloaded,
    ServerUnavailable,
    SignatureNotFound,
)


def show_note(text: str) -> None:
    """Shows a plain sentence that something is not as it should be."""
    st.html(f'<p class="imgcap-note" role="alert">{html.escape(text)}</p>')


def explain(error: ServingError) -> str:
    """Puts an error in words for a visitor, who has no command line."""
    if isinstance(error, BadImage):
        return f"This file can’t be captioned: {error}."
    if isinstance(error, DeadlineExceeded):
        return "The server takes too long for this one. Try again, or with a smaller photograph."
    if isinstance(error, Overloaded):
        return "The server is busy. Try again in a moment."
    if isinstance(error, ServerUnavailable):
        return "The server has gone away. Try again in a moment."
    if isinstance(error, SignatureNotFound):
        return "This model does not have that kind of search: choose the other one in the settings."
    if isinstance(error, ModelNotFound):
        return f"The server does not have that model: {error}."
    return f"The server could not do it: {error}."
