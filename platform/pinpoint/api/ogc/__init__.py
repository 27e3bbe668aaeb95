"""`/ogc`: OGC API - Features and Tiles over the layers of the caller's organization."""
