"""The model: images to features, features to words; it reads no files but weights, and no flags."""

from imgcap.model.captioner import Captioner, make_captioner
from imgcap.model.encoder import Encoder, make_encoder

__all__ = ["Captioner", "Encoder", "make_captioner", "make_encoder"]
