"""The checkout, the optional real data, and names of files that programs stumble over."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("IMGCAP_SHARED", ROOT.parent / "shared"))

HOSTILE_NAMES = (
    "run_lr=[0.001]",
    "m[1]",
    "*",
    "?",
    "{a}",
    "two words",
    "new\nline",
    "-dash",
    "--workdir=x",
    "100%s%(x)d",
    "#1",
    "back\\slash",
    "quo'te\"d",
    "~",
    "$HOME",
    "a:b",
    ".hidden",
    "été",
    os.fsdecode(b"caf\xe9"),
    "x" * 255,
)
"""Each legal on Linux; the last but one is Latin-1, and the last as long as a name may be."""

ALL_AT_ONCE = os.fsdecode(b"-r lr=[0.1]*?{a}%s#\\ '\"$H~\ncaf\xe9")
"""One name with all of it."""
