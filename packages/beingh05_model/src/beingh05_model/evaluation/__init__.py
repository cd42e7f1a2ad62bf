"""How good a policy is: on held-out rows (open loop, MWDS), in simulators (closed loop), with intervals."""
