"""The commands imgcap-serve, imgcap-caption, imgcap-benchmark and imgcap-page."""
