"""Files of exports: GeoParquet, FlatGeobuf, GeoPackage, GeoJSON text sequences and CSV."""
