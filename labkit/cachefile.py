"""A database in the user's cache that may be damaged, full or locked away without harm."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from labkit.paths import cache_dir

_BUSY_S = 60


def tell(text: str) -> None:
    """A line for people, apart from what a command prints."""
    sys.stderr.write(f"labkit: {text}\n")
    sys.stderr.flush()


class CacheFile:
    """An SQLite file of the cache. Whatever is wrong with it costs a line and time, no result.

    A file that is damaged, or of another layout, is set aside as ``NAME.damaged-TIME`` and begun
    anew. One that cannot be written is replaced by memory for as long as the process lives.

    Args:
        name: The file's name in the cache folder.
        table: ``CREATE TABLE IF NOT EXISTS`` statements.
        layout: A number that changes with them.
        what: What it holds, for the messages.
    """

    def __init__(self, name: str, tables: Sequence[str], layout: int, what: str) -> None:
        self.name, self._tables, self._layout, self._what = name, tables, layout, what
        self.path: Path | None = None
        self._db = self._open()

    @property
    def kept(self) -> bool:
        """Whether what is written outlives the process."""
        return self.path is not None

    def read(self, query: str, given: Sequence[object] = ()) -> list[Any]:
        """The rows of a query."""
        return self._do(lambda db: db.execute(query, given).fetchall())

    def write(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Executes a statement for each row, all of them or none."""
        given = list(rows)

        def several(db: sqlite3.Connection) -> list[Any]:
            with db:
                db.executemany(statement, given)
            return []

        if given:
            self._do(several)

    def close(self) -> None:
        self._db.close()

    def _do(self, work: Any) -> list[Any]:
        for _ in range(3):
            try:
                found: list[Any] = work(self._db)
                return found
            except sqlite3.Error as e:
                self._mend(e)
        return []

    def _mend(self, error: sqlite3.Error) -> None:
        self._db.close()
        if self.path is None or _cannot_write(error):
            self._db = self._in_memory(str(error))
        else:
            self._set_aside(str(error))
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        for _ in range(2):
            try:
                self.path = cache_dir() / self.name
                return self._connected(self.path)
            except OSError as e:
                return self._in_memory(f"{e.strerror}: {e.filename}")
            except sqlite3.Error as e:
                if _cannot_write(e):
                    return self._in_memory(f"{e}: {self.path}")
                self._set_aside(str(e))
        return self._in_memory(f"{self.path} is damaged and cannot be replaced")

    def _connected(self, path: Path | str) -> sqlite3.Connection:
        db = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
        try:
            # no write-ahead log: its index is mapped into memory, where a cut file is a crash
            db.execute("PRAGMA journal_mode=TRUNCATE")
            db.execute("PRAGMA synchronous=OFF")  # a crash of the machine may cost some entries
            layout = db.execute("PRAGMA user_version").fetchone()[0]
            there = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if there and layout != self._layout:
                raise sqlite3.DatabaseError(f"it has layout {layout} instead of {self._layout}")
            with db:
                for table in self._tables:
                    db.execute(table)
                db.execute(f"PRAGMA user_version={self._layout}")
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _in_memory(self, why: str) -> sqlite3.Connection:
        tell(f"{self._what} are not kept for later runs ({why})")
        self.path = None
        return self._connected(":memory:")

    def _set_aside(self, why: str) -> None:
        assert self.path is not None
        aside = self.path.with_name(f"{self.name}.damaged-{time.time_ns() // 1_000_000}")
        for end in ("", "-journal", "-wal", "-shm"):
            try:
                os.replace(f"{self.path}{end}", f"{aside}{end}")
            except FileNotFoundError:
                continue
            except OSError as e:
                tell(f"{self.path}{end} is damaged and cannot be moved away ({e.strerror})")
                self.path = None
                return
        tell(f"{self._what} could not be read ({why}): set aside as {aside.name}, computed again")


def _cannot_write(error: sqlite3.Error) -> bool:
    """Whether the place is at fault, rather than what is in the file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (
        sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_AUTH,
    )  # fmt: skip
