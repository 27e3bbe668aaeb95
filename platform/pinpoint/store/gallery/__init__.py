"""Reads of gallery rows for lists, layers, tiles, exports and spatial statements."""
