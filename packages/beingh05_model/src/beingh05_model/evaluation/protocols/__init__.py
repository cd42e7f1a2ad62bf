"""Benchmarks whose simulators are not ours: what an episode is, how a picture is turned, what a command means."""
