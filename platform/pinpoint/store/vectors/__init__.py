"""Vector index on both Qdrant engines: filters, strategies, payload and verification."""
