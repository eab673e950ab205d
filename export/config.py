"""Settings of `imgcap-export`."""

from dataclasses import dataclass

from imgcap.config import MAX_MAX_PIXELS, MAX_PIXELS, Section, setting

MAX_BATCH = 256
"""Rows that a request may have by default."""

MAX_MAX_BATCH = 65_536
"""Greatest limit that may be set: nobody waits for more captions than that."""


@dataclass(frozen=True)
class ExportConfig(Section):
    """The run that becomes a served model, and what is done to it."""

    workdir: str = setting(
        "",
        "Run directory that imgcap-train wrote, or pretrained:flickr8k, the captioner in the box.",
        required=True,
        path=True,
    )
    output_dir: str = setting(
        "", "The model's folder; versions are numbered inside it.", required=True, path=True
    )
    optimize: str = setting(
        "none",
        "Rewrite the encoder for CPUs: 'cpu' in float32, 'cpu_bf16' in bfloat16 for CPUs that have "
        "it.",
        choices=("none", "cpu", "cpu_bf16"),
    )
    max_pixels: int = setting(
        MAX_PIXELS,
        "Pictures that declare more pixels are refused before they are decoded.",
        minimum=1,
        maximum=MAX_MAX_PIXELS,
    )
    max_missing: float = setting(
        0.0,
        "Share of its rows that a cut-off JPEG may lack, grey in their place; the output `missing` "
        "says how many. 0 takes a file without its end marker if no pixel is missing.",
        minimum=0.0,
        maximum=0.99,
    )
    max_batch: int = setting(
        MAX_BATCH,
        "Images that one request may have; one with more is refused. They are computed 16 at a "
        "time, so a request of many needs no more memory.",
        minimum=1,
        maximum=MAX_MAX_BATCH,
    )
    keep: int = setting(
        0,
        "Versions left after publishing, this one and the newest before it; 0 removes none. A "
        "version that a server is pinned to must be among them.",
        minimum=0,
    )
    check: bool = setting(
        True, "Reload what was written in a fresh process and compare captions before publishing."
    )
