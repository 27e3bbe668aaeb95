"""The load and the crashes that a rebuild of the index is put under."""
