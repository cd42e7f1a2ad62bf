"""Small files in the documented format of every data set, from a simulated hand motion.

``python -m unihand_data.sources.generate NAME OUT --seed 0 --recordings 2`` writes a folder that the reader of ``NAME``
opens. Videos are real H.264 with a moving pattern; annotations are consistent with one simulated scene, written here
with formulas of their own (never with the reader's converters), so that reading them back is a test.
"""
