"""Reliability, calibration error and risk against coverage, by cases that were worked by hand."""

import numpy as np
import pytest

from imgcap.evaluation.confidence.reliability import (
    calibration_error,
    describe_confidence,
    reliability_curve,
    risk_coverage,
)

CONFIDENCE = np.array([0.92, 0.96, 1.0, 0.98, 0.06, 0.02, 0.13, 0.17])
GOOD = np.array([True, True, False, True, False, False, True, True])


def test_a_curve_by_hand() -> None:
    curve = reliability_curve(CONFIDENCE, GOOD)
    assert [group["captions"] for group in curve] == [2, 2, 4]
    assert [group["confidence"] for group in curve] == pytest.approx([0.04, 0.15, 0.965])
    assert [group["good"] for group in curve] == [0, 1, 0.75]


def test_a_calibration_error_by_hand() -> None:
    # (2 x 0.04 + 2 x 0.85 + 4 x 0.215) / 8
    assert calibration_error(CONFIDENCE, GOOD) == pytest.approx(0.33)
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0
    assert calibration_error(np.array([1.0, 0.0]), np.array([False, True])) == 1


def test_the_surest_by_hand() -> None:
    confidence, ciders = np.array([0.2, 0.8, 0.5, 0.4, 0.3]), np.array([10.0, 90, 50, 40, 30])
    rows = risk_coverage(confidence, ciders)
    assert [row["captions"] for row in rows] == [1, 2, 4, 5]
    assert [row["cider"] for row in rows] == pytest.approx([90, 70, 52.5, 44])
    assert [row["confidence"] for row in rows] == pytest.approx([0.8, 0.5, 0.3, 0.2])
    for row in rows:
        low, high = row["interval"]
        assert low <= row["cider"] <= high


def test_the_whole_description() -> None:
    found = describe_confidence([0.9, 0.2], [100.0, 20.0], human_cider=60.0)
    assert found["share_as_good"] == 0.5 and found["human_cider"] == 60.0
    assert found["calibration_error"] == pytest.approx(0.15)
