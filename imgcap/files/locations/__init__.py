"""Places of files: paths of this machine, and addresses of buckets and clusters (`gs://a/b`).

An address is a text and stays one: `pathlib` would make `gs:/a/b` of it. Its files are reached
through TensorFlow's file systems (`ram://`, `gs://`) or, for schemes that TensorFlow lacks, through
Apache Beam's (`s3://`, `hdfs://`), whichever is installed.
"""

from imgcap.files.locations.access import (
    base_name,
    file_size,
    find_files,
    has_pattern,
    is_file,
    is_folder,
    is_remote,
    join,
    list_folder,
    make_folder,
    open_file,
    remove,
    rename,
    walk,
)

__all__ = [
    "base_name",
    "file_size",
    "find_files",
    "has_pattern",
    "is_file",
    "is_folder",
    "is_remote",
    "join",
    "list_folder",
    "make_folder",
    "open_file",
    "remove",
    "rename",
    "walk",
]
