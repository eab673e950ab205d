"""Image files decoded by Pillow, pixel for pixel as the graph decodes them; needs no TensorFlow.

Attention is drawn over them here too.
"""

from imgcap.data.pictures.opening import load_rgb, open_picture
from imgcap.data.pictures.overlay import blend_level, blend_overlay, draw_overlay, levels
from imgcap.data.pictures.pixels import to_rgb, turn_upright
from imgcap.data.pictures.shrinking import SENT_QUALITY, encode_jpeg, shrink

__all__ = [
    "SENT_QUALITY",
    "blend_level",
    "blend_overlay",
    "draw_overlay",
    "encode_jpeg",
    "levels",
    "load_rgb",
    "open_picture",
    "shrink",
    "to_rgb",
    "turn_upright",
]
