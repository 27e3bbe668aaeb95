"""C2PA manifests of query photos, read in a limited child process of their own."""
