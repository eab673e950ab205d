"""The models of a server: loaded versions, their policies and their states."""
