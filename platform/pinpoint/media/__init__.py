"""Media: from a hostile file to a checked reading; no network, no database, no torch."""
