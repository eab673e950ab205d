"""How the page is started, and its limits: what a visitor may upload, and what is kept."""

SERVER_VARIABLE = "IMGCAP_SERVER"
"""Environment variable with the model server's host:port."""

AUTHORITY_VARIABLE = "IMGCAP_TLS_CA"
"""Environment variable with the PEM file of the authority to trust; without it no TLS."""

MAX_PHOTO_MB = 20
"""Size of a photo at most; the server takes no image above 32 MB."""

MAX_ARCHIVE_MB = 200
"""Size of a zip archive at most, and of any uploaded file."""

MAX_ARCHIVE_ENTRIES = 2000
"""Files and folders in a zip archive at most, photos or not."""

MAX_EXPANSION = 100
"""How many times its own size the photos of an archive may have, if that is more than one photo."""

MAX_PHOTOS = 200
"""Photos at once at most."""

MAX_TOTAL_MB = 1000
"""Photos at once together at most, as much as they are unpacked."""

MAX_RESULTS = 200
"""Answers of a visit that are kept, with a small picture of each photo."""

MAX_FAILED_MB = 100
"""Originals kept of photos that a busy or absent server has not captioned, to send them again. Of
more than that only the small picture is kept, and sent."""

STREAMLIT_OPTIONS: dict[str, str | int] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "viewer",
    "server.maxUploadSize": MAX_ARCHIVE_MB,
    "server.showEmailPrompt": False,
    "theme.dark.primaryColor": "#8ab8f0",
    "theme.light.primaryColor": "#1f5fa8",
}
"""Settings of Streamlit; .streamlit/config.toml has the same for `streamlit run app.py`."""
