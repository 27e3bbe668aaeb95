"""Manifests: tables and GeoJSON files with metadata of images."""
