"""How plain stages become a Ray Data job: resources, resume, rejects, metrics."""
