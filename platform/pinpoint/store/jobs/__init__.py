"""Rows of locate jobs: for the API (`job_database`) and for workers (`job_repository`)."""
