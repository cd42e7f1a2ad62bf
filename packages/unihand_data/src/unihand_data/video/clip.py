"""Moved to :mod:`unihand_data.values.clip`."""

from unihand_data.values.clip import ClipRef

__all__ = ["ClipRef"]
