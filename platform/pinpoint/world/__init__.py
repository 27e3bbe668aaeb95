"""The synthetic planet: seeded places, their pictures and galleries for demos and tests."""
