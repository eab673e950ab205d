"""From an exported model to captions: server, client, command lines and page."""
