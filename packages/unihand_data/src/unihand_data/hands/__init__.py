"""Hand motion: estimators, skeletons, MANO variants and inverse kinematics."""
