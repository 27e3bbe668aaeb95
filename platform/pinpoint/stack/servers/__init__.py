"""Private servers of the embedded stack: PostgreSQL and Redis."""
