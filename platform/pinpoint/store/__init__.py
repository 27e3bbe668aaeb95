"""Persistent storage: PostgreSQL/PostGIS, Qdrant and blobs."""
