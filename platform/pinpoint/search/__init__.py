"""The search flow: photo → query → candidates → evidence → ranked → answer.

`pipeline` is the recipe; the other files are its stages and do not know each other.
"""
