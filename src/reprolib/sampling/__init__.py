"""Sampling under constraints."""
