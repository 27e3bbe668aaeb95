"""Backup and restore of a stack: archive format, database dumps and compaction."""
