"""Samples as tagged segments, tokens and packed rows (paper 5.2.1)."""
