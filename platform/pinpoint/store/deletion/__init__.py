"""Deletion of images and organizations, from tombstone to row."""
