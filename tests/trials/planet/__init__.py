"""A throw-away embedder that asks whether the planet is neither rigged nor trivial."""
