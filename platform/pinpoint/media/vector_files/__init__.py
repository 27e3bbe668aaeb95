"""Vector files (GeoParquet, GeoPackage, FlatGeobuf, Shapefile), read in a limited child process."""
