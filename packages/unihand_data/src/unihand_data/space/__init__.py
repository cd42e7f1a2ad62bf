"""The 200-slot unified state-action space."""
