"""Errors that the user can fix, and what their messages have in common."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """Something given cannot be used; the message says what was given and what is allowed.

    A command that meets one prints its message, does nothing and exits with ``exit_code``.
    """

    exit_code = 2


def hint(given: object, known: Iterable[object]) -> str:
    """`` (did you mean X?)`` with the closest known name; empty if none is close."""
    close = difflib.get_close_matches(str(given), list(map(str, known)), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def one_of(given: object, known: Iterable[object]) -> str:
    """``must be one of A, B``, with a :func:`hint`."""
    names = list(map(str, known))
    return f"must be one of {', '.join(names) or 'none'}{hint(given, names)}"


def unknown(what: str, given: object, known: Iterable[object]) -> str:
    """``unknown WHAT 'GIVEN' (did you mean X?); must be one of A, B``."""
    names = list(map(str, known))
    return (
        f"unknown {what} {given!r}{hint(given, names)}; must be one of {', '.join(names) or 'none'}"
    )
