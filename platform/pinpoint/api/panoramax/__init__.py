"""Panoramax API: the gallery as STAC collections and items, for Panoramax clients."""
