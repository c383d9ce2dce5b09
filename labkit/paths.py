"""Where the project's data lives, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_dir() -> Path:
    """The read-only data folder: ``data/`` of a checkout, else the copy inside the package.

    Raises:
        FileNotFoundError: the installation carries no data folder at all.
    """
    for folder in (_PACKAGE.parent / "data", _PACKAGE / "_data"):
        if (folder / "providers").is_dir() or (folder / "dialogues").is_dir():
            return folder
    raise FileNotFoundError(
        f"no data folder beside {_PACKAGE} or inside it; reinstall labkit from a full checkout"
    )


def agents_dir() -> Path:
    """The folder of the built-in agents, which are ordinary LiveKit agent files."""
    return _PACKAGE / "agents"


def cache_dir() -> Path:
    """A per-user folder for things that may be deleted at any time (created on demand)."""
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("labkit"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
