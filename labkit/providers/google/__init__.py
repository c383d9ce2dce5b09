"""The emulated Gemini API."""
