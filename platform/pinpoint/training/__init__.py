"""Training on a user's own gallery: samples, splits, batches, cached features, training loop."""
