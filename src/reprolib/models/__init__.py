"""Small, readable modules."""
