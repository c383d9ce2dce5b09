"""The tables of a study, their identity, and where they come from."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.paths import data_dir
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
    """The distributions whose version a result depends on: the SDK and the providers' clients."""
    from labkit.providers.registry import EMULATORS

    return (*_PACKAGES, *(name for cls in EMULATORS.values() for name in cls.packages))


@dataclass
class Results:
    """What a run leaves.

    Attributes:
        turns: One row per caller turn.
        calls: One row per call.
        provenance: Where the tables come from; written beside them as JSON.
        wall_s: Wall time of the run, seconds.
        interrupted: Whether the run was stopped before its last call.
    """

    turns: pd.DataFrame
    calls: pd.DataFrame
    provenance: dict[str, Any] = field(default_factory=dict)
    wall_s: float = float("nan")
    interrupted: bool = False

    def part(self, **where: Any) -> Results:
        """The rows of one arm or one place of the grid.

        Args:
            **where: Columns and the value each must have: ``part(arm="defaults")``, or
                ``part(**{"arm": "off", "links.openai.rtt_s": 0.1})``. None finds what is unset.

        Raises:
            KeyError: a column that the tables do not have.
            ValueError: no row has these values; the message says which values there are.
        """
        calls = _rows(self.calls, where)  # first: calls that failed at once have no turns
        return Results(_rows(self.turns, where, may_lack=True), calls, self.provenance)

    @property
    def arms(self) -> dict[str, Results]:
        """Each arm's rows, by name, in the order they were given."""
        return {name: self.part(arm=name) for name in self.calls["arm"].unique()}

    @property
    def digest(self) -> str:
        """A hash of every value in the turns table; equal digests mean equal results."""
        return digest(self.turns)

    @property
    def simulated_s(self) -> float:
        """Conversation time simulated, seconds."""
        return float(self.calls["simulated_s"].sum()) if len(self.calls) else 0.0

    def save(self, path: str | Path) -> list[Path]:
        """Writes the tables.

        Args:
            path: ``NAME.parquet`` for the turns; the calls go to ``NAME.calls.parquet`` and the
                provenance to ``NAME.json``.

        Returns:
            The files written.
        """
        turns = Path(path)
        turns.parent.mkdir(parents=True, exist_ok=True)
        calls, sidecar = turns.with_suffix(".calls.parquet"), turns.with_suffix(".json")
        self.turns.to_parquet(turns, index=False)
        self.calls.to_parquet(calls, index=False)
        sidecar.write_text(json.dumps(self.provenance, indent=2, sort_keys=True) + "\n")
        return [turns, calls, sidecar]

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Reads what :meth:`save` wrote."""
        turns = Path(path)
        return cls(
            pd.read_parquet(turns),
            pd.read_parquet(turns.with_suffix(".calls.parquet")),
            json.loads(turns.with_suffix(".json").read_text()),
        )


def _rows(table: pd.DataFrame, where: dict[str, Any], may_lack: bool = False) -> pd.DataFrame:
    for column, value in where.items():
        if may_lack and not len(table):
            break
        if column not in table:
            raise KeyError(f"no column {column!r}")
        same = table[column].isna() if value is None else table[column] == value
        if len(table) and not same.any() and not may_lack:
            there = ", ".join(map(str, table[column].unique()))
            raise ValueError(f"no row has {column}={value!r}; there are {there}")
        table = table[same]
    return table.reset_index(drop=True)


def digest(table: pd.DataFrame) -> str:
    """A hash of a table's values, independent of the order of its rows."""
    keys = [c for c in ("arm", "call", "turn") if c in table]
    text = table.sort_values(keys, kind="stable").to_csv(index=False) if len(table) else ""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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

    status = git("status", "--porcelain", "--", ".", "../data")
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
        "packages": {name: importlib.metadata.version(name) for name in packages()},
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
