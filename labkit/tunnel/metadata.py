"""Says what to give an agent that reads metadata which nobody gave it."""

from __future__ import annotations

import json
from pathlib import Path

from labkit.tunnel.sources import source_files

_GIVEN_BY = {
    "job.metadata": "--metadata JSON",
    "room.metadata": "--room-metadata JSON",
    "participant.metadata": "--set participant.metadata=JSON",
}


def missing(error: BaseException, path: Path) -> str:
    """What to add to an error that ended a call: which metadata to give, if it read empty text.

    Args:
        error: What the agent raised.
        path: The agent file.
    """
    if not isinstance(error, json.JSONDecodeError) or error.doc.strip():
        return ""
    texts = [f.read_text(encoding="utf-8-sig") for f in source_files(path) if f.suffix == ".py"]
    named = [f"{how} ({name})" for name, how in _GIVEN_BY.items() if any(name in t for t in texts)]
    if not named:
        return ""
    return f": it reads a text as JSON that nobody gave it: give {' or '.join(named)}"
