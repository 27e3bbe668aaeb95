"""Dossiers: a ZIP file with an answer and what another person needs to check it."""
