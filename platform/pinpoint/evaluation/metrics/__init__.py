"""Metrics of a run, computed from its stored rows."""
