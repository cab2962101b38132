"""Networks that others trained: which there are, where they come from, and how their files are read."""
