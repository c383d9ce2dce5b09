"""LiveKit Inference: one gateway to many providers' models."""
