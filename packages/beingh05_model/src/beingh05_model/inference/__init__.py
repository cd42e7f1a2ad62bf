"""From an observation to a chunk of actions: prefix cache, Euler steps, refinement, prefix locking."""
