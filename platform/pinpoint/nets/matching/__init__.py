"""Geometric verification: local features and the geometry that two images agree on."""
