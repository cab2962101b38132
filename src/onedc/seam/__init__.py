"""The integer seam: what both sides of the entropy coder must agree on, bit by bit."""
