"""OpenAI, as seen from the wire."""
