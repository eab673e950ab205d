"""The captioner in the box as an exported model: made once, in the user's cache directory."""

import hashlib
import shutil
import subprocess
from pathlib import Path

from platformdirs import user_cache_path

from imgcap import __version__
from imgcap.errors import ServingError
from imgcap.files.locking import locked
from imgcap.files.model_folder import find_versions
from imgcap.files.moving import discard, move, unfinished_name
from imgcap.host.programs import find_program
from imgcap.run.pretrained import DEFAULT, resolve_run

_LOCK = ".lock"


def exports_folder() -> Path:
    """The folder of all exports of captioners of the package; it may be removed at any time."""
    return Path(user_cache_path("imgcap")) / "exports"


def export_once(name: str = DEFAULT) -> Path:
    """Exports a captioner of the package, unless this was done before.

    An export belongs to the version of imgcap and to the content of the captioner; if one of them
    changes, a new one is made. Of several starts at once, one exports and the others wait for it.

    Args:
        name: of the captioner.

    Returns:
        The model's folder, with the export as version 1.

    Raises:
        RunError: the package has no such captioner.
        ServingError: the export failed, or the cache directory can't be written.
    """
    run = resolve_run(name)
    folder = exports_folder()
    model = folder / f"{run.name}-{__version__}-{fingerprint(run)}"
    if find_versions(model):
        return model
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / _LOCK, wait=True) as lock:
            if not find_versions(model):  # Another start may have made it meanwhile.
                _export(name, run, model, lock)
    except OSError as error:
        raise ServingError(
            f"{error.filename or folder} can't be written ({error.strerror}): free the disk, or "
            "export it yourself (imgcap-export) and give --model_base_path"
        ) from None
    return model


def fingerprint(run: Path) -> str:
    """A hash of all files of a run directory, names and content."""
    digest = hashlib.sha256()
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(run)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _export(name: str, run: Path, model: Path, lock: int) -> None:
    """Runs imgcap-export into a folder that gets the model's name when it is whole."""
    print(f"exporting the captioner in the box ({name}) once into {model} …", flush=True)
    unfinished = unfinished_name(model)
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [find_program("imgcap-export"), f"--workdir={run}", f"--output_dir={unfinished}"]
    # Its last line would name a folder that is gone a moment later. It holds the lock itself: it
    # lives on if this process is killed.
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, pass_fds=[lock], check=False)
    if ended.returncode:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ServingError(
            f"imgcap-export ended with status {ended.returncode}: see its message above"
        )
    discard(model)
    move(unfinished, model)
