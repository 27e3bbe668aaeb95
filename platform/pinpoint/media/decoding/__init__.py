"""Decodes untrusted files in limited child processes."""
