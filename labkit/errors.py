"""The errors that are the user's to mend."""

from __future__ import annotations


class UsageError(ValueError):
    """Something given cannot be used; the message says what was given and what is allowed.

    A command that meets one prints its message, does nothing and exits with ``exit_code``.
    """

    exit_code = 2
