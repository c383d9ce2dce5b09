"""The hooks and nodes that an agent file overrides: which there are, and how they take no time."""

from __future__ import annotations

from typing import Any

from labkit.tunnel import instant, sdk

METHODS = {
    "hook": ("on_user_turn_completed",),
    "nodes": ("stt_node", "llm_node", "tts_node", "transcription_node"),
}
"""Methods of an agent that stand in a turn's way, by their setting under ``instant``."""


def own_code() -> dict[str, list[str]]:
    """By kind, the methods that any agent class of this process overrides, as ``Class.method``."""
    return {
        kind: [f"{cls.__name__}.{n}" for cls in sdk.own_agents() for n in names if n in vars(cls)]
        for kind, names in METHODS.items()
    }


def wrap_own_code() -> None:
    """Lets the agent's own methods be instant; for classes that exist by now, once for each."""
    for cls in sdk.own_agents():
        for kind, names in METHODS.items():
            for name in names:
                method: Any = vars(cls).get(name)
                if method is not None and not hasattr(method, "_labkit_instant"):
                    made = instant.wrapped(kind, method)
                    made._labkit_instant = True  # type: ignore[attr-defined]
                    setattr(cls, name, made)
