"""Frames, cameras and transforms. Camera axes are OpenCV (x right, y down, z forward); poses are camera-to-world."""
