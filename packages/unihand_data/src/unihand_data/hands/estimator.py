"""Moved to :mod:`unihand_data.values.estimator`."""

from unihand_data.values.estimator import CameraEstimator, HandEstimator, HandResult

__all__ = ["CameraEstimator", "HandEstimator", "HandResult"]
