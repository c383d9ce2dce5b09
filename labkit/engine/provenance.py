"""Where results come from: the code, the packages, the data and the machine."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labkit.paths import data_dir
from labkit.providers.registry import PROVIDERS
from labkit.settings import Settings

_PACKAGES = (
    "livekit-agents",
    "livekit-plugins-silero",
    "livekit-local-inference",
    "aiohttp",
    "numpy",
    "pandas",
)


def packages() -> tuple[str, ...]:
    """The distributions whose version a result depends on: the SDK and the providers' clients.

    Clients that an extra installs count where they are installed.
    """
    clients = [
        name
        for entry in PROVIDERS.values()
        for name in entry.packages
        if not entry.extra or _installed(name)
    ]
    return (*_PACKAGES, *clients)


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def versions(names: Iterable[str]) -> dict[str, str]:
    """The version of each distribution that is installed; clients of providers are extras."""
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def code_version() -> dict[str, Any]:
    """Version, commit and dirty flag of labkit; null where there is no checkout."""
    here = Path(__file__).resolve().parent

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *args], cwd=here, capture_output=True, text=True, timeout=20, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--", "..", "../../data")
    return {
        "version": importlib.metadata.version("labkit"),
        "commit": git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
    }


def provenance(**run: Any) -> dict[str, Any]:
    """Where results come from: code, packages, profiles, speech, machine and the run's own terms.

    No time stamp, so that a rerun that changes nothing changes no file.
    """
    from labkit.providers.profile import load_profiles
    from labkit.world.speech import SpeechCorpus

    settings = Settings(run.get("settings", {}))
    loaded = load_profiles(settings.text("profile") or None, settings.figures)
    profiles = {name: p.digest for name, p in loaded.items()}
    return {
        **run,
        "code": code_version(),
        "packages": versions(packages()),
        "profiles": profiles,
        "speech": SpeechCorpus.load().digest,
        "dialogues": _folder_digest(data_dir() / "dialogues"),
        "platform": {
            "python": platform.python_version(),
            "system": platform.system(),
            "machine": platform.machine(),
        },
    }


def _folder_digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.toml")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]
