"""PostgreSQL/PostGIS, Qdrant and blobs: everything that outlives a process."""
