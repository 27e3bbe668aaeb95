"""Fits calibrations on evaluated queries: posterior parameters and abstention."""
