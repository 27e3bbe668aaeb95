"""Evaluation metrics: pure numpy functions over rows, each tested against a slow oracle.

One rule everywhere: a photo without an answer is NaN and stays in the denominator. It is wrong in
every accuracy and scores 0. Only errors in kilometers are computed over answered rows, and their
count is returned too. A metric over no rows is NaN, never 0.
"""
