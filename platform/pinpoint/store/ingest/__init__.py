"""Repository of the workers: leases, upserts, GPS vectors and the re-embedding queue."""
