"""Processes of a stack: supervisord, programs, start and stop."""
