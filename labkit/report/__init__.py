"""Answers become pictures: figures with their numbers, executed notebooks, an HTML site.

The only part of the package that draws (matplotlib) and that runs notebooks (papermill, nbconvert).
It never runs a call itself.
"""
