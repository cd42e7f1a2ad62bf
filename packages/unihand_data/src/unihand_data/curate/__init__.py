"""Filters, relevance, mirroring, task building."""
