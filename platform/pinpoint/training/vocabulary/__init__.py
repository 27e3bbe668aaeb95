"""Vocabularies: centers and PCA of an aggregation, learned from images."""
