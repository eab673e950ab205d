"""How the page is started: Streamlit's settings, and the environment variables that it reads."""

SERVER_VARIABLE = "IMGCAP_SERVER"
"""Environment variable with the model server's host:port."""

AUTHORITY_VARIABLE = "IMGCAP_TLS_CA"
"""Environment variable with the PEM file of the authority to trust; without it no TLS."""

MAX_PHOTOS = 50
"""Photos at once at most."""

MAX_UPLOAD_MB = 20
"""Size of an uploaded file at most."""

STREAMLIT_OPTIONS: dict[str, str | int] = {
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
    "server.maxUploadSize": MAX_UPLOAD_MB,
    "server.showEmailPrompt": False,
}
"""Settings of Streamlit; .streamlit/config.toml has the same for `streamlit run app.py`."""
