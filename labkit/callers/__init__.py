"""Callers: what they say, how it sounds, and how they behave on the line."""
