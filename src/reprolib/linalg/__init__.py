"""Linear algebra that torch and scipy do not have."""
