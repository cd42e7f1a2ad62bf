"""Moved to :mod:`unihand_data.values.camera`."""

from unihand_data.values.camera import CameraTrack, Intrinsics, World

__all__ = ["CameraTrack", "Intrinsics", "World"]
