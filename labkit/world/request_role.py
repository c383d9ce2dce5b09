"""What requests to an LLM are for."""

from enum import StrEnum


class RequestRole(StrEnum):
    """What a request to an LLM is for, as the provider takes it."""

    REPLY = "reply"
    DRAFT = "draft"
    """A reply to words that are not yet the whole turn."""
    TOOL_STEP = "tool_step"
    """What follows a tool's result."""
    JUDGE = "judge"
    GUARD = "guard"
    INSTRUCTED = "instructed"
    """Asked for by an instruction of the agent's, not by the caller."""
    OTHER = "other"
