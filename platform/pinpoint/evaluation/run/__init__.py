"""Evaluation runs: queries, resumable result rows and the manifest of a run."""
