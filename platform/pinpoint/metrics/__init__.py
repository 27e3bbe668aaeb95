"""What the evaluator measures: pure functions over rows, numpy only, each with a slow oracle.

One rule everywhere: a photo without an answer is NaN and stays in the denominator. It is wrong in
every accuracy and scores 0; only errors in kilometres are taken over answered rows, and then the
count stands beside them. A figure over no rows is NaN, never 0.
"""
