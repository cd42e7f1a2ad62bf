"""Writing shards in the layouts others read. Nothing of the shard directory changes."""
