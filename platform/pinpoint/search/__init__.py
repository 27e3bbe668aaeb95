"""The search flow: photo → query → candidates → evidence → ranking → answer.

`pipeline` calls the stages in order. The other modules are stages and do not import each other.
"""
