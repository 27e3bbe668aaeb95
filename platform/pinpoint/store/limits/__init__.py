"""Counters of limits in Redis, and the limits of API keys."""
