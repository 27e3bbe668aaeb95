"""Embedder."""
