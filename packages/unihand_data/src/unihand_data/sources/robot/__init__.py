"""Robot data: one reader per container, and a YAML per (data set, embodiment) that says what the numbers mean."""
