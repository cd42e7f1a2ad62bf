"""Plain data that crosses rooms: cameras, hand tracks, clips, recordings. Imports numpy and nothing of the package."""
