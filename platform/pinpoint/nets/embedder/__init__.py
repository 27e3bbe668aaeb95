"""The embedder: heads per source kind, the location encoder and the losses."""
