"""The emulated Anthropic service."""
