"""Evaluation: labelled photos asked through the real search flow, under stated conventions."""
