"""What they are told."""

TASK = "You are the phone assistant of a dental practice."
