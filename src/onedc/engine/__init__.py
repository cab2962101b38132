"""What runs the networks of a model: `protocol` says how the codec speaks to it, in numpy arrays."""
