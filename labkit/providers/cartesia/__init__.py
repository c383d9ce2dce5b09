"""Cartesia, as seen from the wire."""
