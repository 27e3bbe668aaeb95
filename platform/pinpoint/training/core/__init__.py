"""Parts that all trainings share: configuration, samples, splits, loop and checkpoints."""
