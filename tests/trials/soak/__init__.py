"""The fault bench: a seeded script of work, seeded faults, and a comparison with a quiet run."""
