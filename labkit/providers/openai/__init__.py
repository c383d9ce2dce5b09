"""The emulated OpenAI service."""
