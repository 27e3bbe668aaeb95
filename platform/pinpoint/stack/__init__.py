"""The embedded stack: private servers, their supervisor and the process that owns the index."""
