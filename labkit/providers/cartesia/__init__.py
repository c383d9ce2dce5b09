"""The emulated Cartesia service."""
