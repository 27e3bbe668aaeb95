"""Remote procedure calls to the process that owns the embedded index."""
