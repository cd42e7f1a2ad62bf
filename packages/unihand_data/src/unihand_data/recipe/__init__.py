"""The recipe: which rows of which shard directories are trained on, how often, and in which order."""
