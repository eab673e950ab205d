"""How far to trust captions: a confidence fitted on dev, and how right it turns out to be."""

from imgcap.evaluation.confidence.fitting import calibrate, fit_confidence
from imgcap.evaluation.confidence.reliability import describe_confidence

__all__ = ["calibrate", "describe_confidence", "fit_confidence"]
