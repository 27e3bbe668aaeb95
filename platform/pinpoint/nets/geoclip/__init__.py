"""Geoclip."""
