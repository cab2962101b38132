"""Encoder-side effort: how much (`level`, without torch) and the search itself (`refine`)."""
