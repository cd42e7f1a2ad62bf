"""Other people's files: the released checkpoints of Being-H0.5 and InternVL3.5's weights."""
