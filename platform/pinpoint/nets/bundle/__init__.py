"""Bundles: folders with weights, their contract, calibrations and digests."""
