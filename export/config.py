"""Settings of `imgcap-export`."""

from dataclasses import dataclass

from imgcap.config import MAX_MAX_PIXELS, MAX_PIXELS, Section, setting


@dataclass(frozen=True)
class ExportConfig(Section):
    """The run that becomes a served model, and what is done to it."""

    workdir: str = setting(
        "",
        "Run directory that imgcap-train wrote, or pretrained:flickr8k, the captioner in the box.",
        required=True,
    )
    output_dir: str = setting(
        "", "The model's folder; versions are numbered inside it.", required=True
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
    keep: int = setting(
        0,
        "Versions left after publishing, this one and the newest before it; 0 removes none. A "
        "version that a server is pinned to must be among them.",
        minimum=0,
    )
    check: bool = setting(
        True, "Reload what was written in a fresh process and compare captions before publishing."
    )
