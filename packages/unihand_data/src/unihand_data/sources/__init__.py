"""Readers: one per container kind; one YAML per data set says what its fields mean."""
