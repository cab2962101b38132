"""Published checkpoints of other implementations: their keys, and conversion to weights of ours."""
