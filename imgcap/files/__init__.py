"""Files: how they are written and read, and where an exported model keeps its own."""

from imgcap.files.writing import read_json, write_bytes, write_json, write_text

__all__ = ["read_json", "write_bytes", "write_json", "write_text"]
