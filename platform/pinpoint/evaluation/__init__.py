"""Evaluation: labeled queries are run through the real search flow, under stated conventions."""
