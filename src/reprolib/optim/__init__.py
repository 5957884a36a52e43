"""Optimizers that a paper brings with it."""
