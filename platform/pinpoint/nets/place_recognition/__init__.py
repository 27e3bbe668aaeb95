"""Published networks for place recognition: own implementations for weights that a site brings."""
