"""Celery workers of Pinpoint."""
