"""The embedded stack: private servers, their supervisor and the owner process of the index."""
