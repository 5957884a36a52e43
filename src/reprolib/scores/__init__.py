"""Scores of training examples, and the choice of those to keep."""
