"""Captions of a split and their scores: BLEU, ROUGE-L and CIDEr-D as the field computes them."""

from imgcap.evaluation.scores import score_captions

__all__ = ["score_captions"]
