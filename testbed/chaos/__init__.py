"""Chaos: the fault vocabulary, its triggers, and decisions that depend on the seed and nothing else."""
