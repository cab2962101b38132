"""Batches: which image, which crop, which noise; from photos, a cache or a pool."""
