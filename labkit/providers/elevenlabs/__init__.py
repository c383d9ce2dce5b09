"""The emulated ElevenLabs service."""
