"""Labeled query photos: formats of label files, protocols and checks."""
