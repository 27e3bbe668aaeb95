"""Metadata inside image files: EXIF, XMP, IPTC, comments, times and positions."""
