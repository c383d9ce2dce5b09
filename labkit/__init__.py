"""labkit: a wind tunnel for LiveKit voice agents."""
