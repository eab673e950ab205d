"""Files: written, renamed, locked and read, by any name and on any file system; and the folder in
which an exported model keeps its own.
"""

from imgcap.files.writing import read_json, write_bytes, write_json, write_text

__all__ = ["read_json", "write_bytes", "write_json", "write_text"]
