"""`imgcap-demo`: the captioner of the package on sample photographs, then the road to one's own."""

from imgcap.cli.demo.road import COMMAND, free_port, main, wait_until_open

__all__ = ["COMMAND", "free_port", "main", "wait_until_open"]
