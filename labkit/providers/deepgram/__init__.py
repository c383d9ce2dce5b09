"""The emulated Deepgram service."""
