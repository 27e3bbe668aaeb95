"""GIS access on one million images: features, tiles, neighbors, coverage and exports."""
