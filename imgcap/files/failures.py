"""What the operating system says of a file, with what to do about it."""

import errno
import os

from imgcap.files.names import write_line

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a full disk, a quota, `ulimit -f` and a failing disk give any write."""

_REMEDIES = {
    errno.EACCES: "mend its permissions, or give another path",
    errno.EPERM: "mend its permissions, or give another path",
    errno.EROFS: "give a path that can be written",
    errno.EEXIST: "a file is where a folder is needed: give another path",
    errno.ENOTDIR: "a file is where a folder is needed: give another path",
    errno.EISDIR: "a folder is where a file is needed: give another path",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "its symbolic links go in a circle: mend them",
    errno.ESTALE: "it was replaced on the file server meanwhile: run again",
}


def describe(error: OSError) -> str:
    """Makes the line that tells a user what failed.

    Args:
        error: names a file, or is about room.

    Returns:
        File, reason and remedy.
    """
    name = error.filename
    path = os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else str(name)
    where = f"{write_line(path)}: " if name else ""
    if error.errno in NO_ROOM:
        return f"{where}can't write ({error.strerror}); free space, then run again"
    remedy = _REMEDIES.get(error.errno or 0, "mend it, or give another path")
    return f"{where}{error.strerror}: {remedy}"
