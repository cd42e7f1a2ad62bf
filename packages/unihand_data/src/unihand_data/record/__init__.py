"""Demonstrations recorded in a simulator, as data sets like any other: the robot job ingests what this room writes.

``python -m unihand_data.record.metaworld`` records Meta-World's scripted experts (docs/metaworld.md). Needs the
``record`` extra.
"""
