"""The files that settings name: the environment and the script that a user gives to an agent's job.

Light, so that they can be checked before any worker starts.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from labkit.errors import UsageError
from labkit.settings import Settings
from labkit.tunnel.spec import ENVIRONMENT

FILES = ("job.env_file", "participant.script")
"""Settings that name a file; its text counts, not its name."""


def env_file(path: str) -> dict[str, str]:
    """The variables of a file of ``NAME=value`` lines, as python-dotenv reads it.

    Those that the tunnel supplies are left out, so that no true key or address gets in.

    Raises:
        UsageError: the file cannot be read.
    """
    if not path:
        return {}
    from dotenv import dotenv_values

    _text("job.env_file", path)
    found = dotenv_values(Path(path).expanduser(), encoding="utf-8-sig")
    return {name: value for name, value in found.items() if value and name not in ENVIRONMENT}


def digests(settings: Settings) -> dict[str, str]:
    """A hash of each file that the settings name.

    Raises:
        UsageError: a file cannot be read.
    """
    named = {name: settings.text(name) for name in FILES}
    return {
        name: hashlib.sha256(_text(name, path)).hexdigest() for name, path in named.items() if path
    }


def _text(name: str, path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as e:
        raise UsageError(f"{name}={path}: {e.strerror or e}") from None
