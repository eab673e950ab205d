"""The commands imgcap-serve, imgcap-rollout, imgcap-caption, imgcap-benchmark and imgcap-page."""
