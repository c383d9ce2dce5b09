"""Anthropic, as seen from the wire."""
