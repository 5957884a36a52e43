"""Latent-variable models: learn from unlabeled data what a small head then needs few labels for."""
