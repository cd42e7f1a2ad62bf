"""What makes a corpus' row a training row: checks, pictures, one geometry, duplicates, held-out benchmarks."""
