"""Hosts that speak OpenAI's chat protocol."""
