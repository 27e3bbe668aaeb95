"""Synthetic planet: seeded cities, rendered images and galleries for demos and tests."""
