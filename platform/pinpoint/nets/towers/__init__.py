"""Image towers: backbones, preprocessing and the built-in descriptor."""
