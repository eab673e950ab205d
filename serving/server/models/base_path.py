"""The folder of a model's versions, looked at before any of them is loaded; without TensorFlow."""

from pathlib import Path

from imgcap.errors import ServingError
from imgcap.files.model_folder import find_versions


def require_versions(base_path: Path) -> dict[int, Path]:
    """Finds the version folders under a base path, by number.

    Raises:
        ServingError: no such folder, or no version in it.
    """
    remedy = f"export a model with imgcap-export --output_dir={base_path}"
    if not base_path.is_dir():
        raise ServingError(f"model_base_path {base_path} does not exist: {remedy}")
    versions = find_versions(base_path)
    if not versions and (base_path / "saved_model.pb").exists():
        remedy = f"it is a version itself: give its parent, --model_base_path={base_path.parent}"
    if not versions:
        raise ServingError(
            f"model_base_path {base_path} has no version, a folder named with a number: {remedy}"
        )
    return versions
