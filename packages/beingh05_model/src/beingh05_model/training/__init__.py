"""Training from shards: samples in a recipe's order, packed rows, DeepSpeed, checkpoints that resume sample by
sample."""
