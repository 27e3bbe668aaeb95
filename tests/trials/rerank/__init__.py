"""A reranker from nothing to its tables: planet, gallery, training, calibration, held-out test."""
