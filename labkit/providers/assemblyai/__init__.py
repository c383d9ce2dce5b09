"""The emulated AssemblyAI service."""
