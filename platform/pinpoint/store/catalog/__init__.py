"""The catalog of one organization: sources, batches, images and their neighbors."""
