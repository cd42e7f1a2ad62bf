"""Video: probing, decoding by timestamp, damage, shots, undistortion and the short-GOP clips that shards store."""
