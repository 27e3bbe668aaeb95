"""What a trained embedder brings on the planet, channel by channel."""
