"""GeoCLIP as a bundle: its network and its weight files."""
