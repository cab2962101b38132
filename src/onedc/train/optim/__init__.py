"""Optimizers, learning rates and the EMA."""
