"""Moved to :mod:`unihand_data.values.hands`."""

from unihand_data.values.hands import BONES, FINGERS, WRIST, HandModel, HandTrack, Side

__all__ = ["BONES", "FINGERS", "WRIST", "HandModel", "HandTrack", "Side"]
