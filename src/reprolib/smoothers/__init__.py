"""Predictors that are weighted means of training labels, and how much they smooth."""
