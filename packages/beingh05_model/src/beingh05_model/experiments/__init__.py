"""Whole studies: data, training and closed loop together, one command each."""
