"""The jobs behind ``pipelines/``: settings, stages, command line and the two ends of a run. Top of the import order."""
