"""Deepgram, as seen from the wire."""
