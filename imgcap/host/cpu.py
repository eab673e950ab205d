"""Features of the CPU, found without TensorFlow, which aborts on a model for another CPU."""

from collections.abc import Iterable
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def missing_cpu_features(required: Iterable[str], cpuinfo: Path = CPUINFO) -> list[str]:
    """Finds the features that a model needs and the CPU lacks.

    Args:
        required: features by the names that Linux gives them, such as 'avx512_bf16'.
        cpuinfo: Linux' description of the CPU.

    Returns:
        The missing ones, in the given order; all of them if there is no such description, since on
        an unknown CPU the process may be killed.
    """
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return list(required)
    lines = (line.partition(":") for line in text.splitlines())
    present = {
        flag
        for name, _, flags in lines
        if name.strip() in ("flags", "Features")
        for flag in flags.split()
    }
    return [feature for feature in required if feature not in present]
