"""Ingest: from files to rows, vectors and index points."""
