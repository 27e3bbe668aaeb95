"""Training on one's own gallery: samples, splits, batches, cached features, the loop."""
