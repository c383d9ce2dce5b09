"""What the tunnel does not have: realtime models and avatars, in words for the user."""

from __future__ import annotations

from labkit.errors import UsageError

REALTIME = "realtime models are not emulated: give the session an stt, an llm and a tts"
AVATAR = "avatars are not emulated: leave the avatar out, or start it only outside of tests"


class Unserved(UsageError):
    """An agent begins to use what the tunnel does not have."""


def unserved(kind: str, thing: object, at: str) -> Unserved:
    """The refusal of a realtime model or an avatar.

    Args:
        kind: ``realtime`` or ``avatar``.
        thing: The object.
        at: The line where it was made.
    """
    cls = type(thing)
    plugin, found, _ = cls.__module__.removeprefix("livekit.plugins.").partition(".")
    name = f"{plugin}.{cls.__name__}" if found else cls.__name__
    return Unserved(f"{at}: {name}: {AVATAR if kind == 'avatar' else REALTIME}")
