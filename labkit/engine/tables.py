"""The tables of a run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.cachefile import tell
from labkit.engine.workload import checked_path


@dataclass
class Results:
    """What a run leaves.

    Attributes:
        turns: One row per caller turn.
        calls: One row per call.
        provenance: Where the tables come from; written beside them as JSON.
        wall_s: Wall time of the run, seconds.
        interrupted: Whether the run was stopped before its last call.
        n_known: How many of the calls were known already and not run again.
        unsaved: Why the tables could not be written where they were to be; empty if they were.
    """

    turns: pd.DataFrame
    calls: pd.DataFrame
    provenance: dict[str, Any] = field(default_factory=dict)
    wall_s: float = float("nan")
    interrupted: bool = False
    n_known: int = 0
    unsaved: str = ""

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
    def failed(self) -> pd.DataFrame:
        """The calls that failed."""
        return self.calls[self.calls["status"] != "ok"] if len(self.calls) else self.calls

    @property
    def troubles(self) -> pd.DataFrame:
        """What went wrong, each thing once: calls that failed, and errors in the agent's code.

        One row each: ``error`` (with its place), ``n`` (how often), ``calls`` (in how many calls),
        ``fatal`` (whether it ended them), ``arm``, and ``replay``, the command that shows the first
        of them again.
        """
        rows = []
        for call in self.calls.to_dict("records"):
            head = {"arm": call.get("arm", ""), "replay": call.get("replay", ""), "calls": 1}
            if call["status"] != "ok":
                rows.append({"error": str(call["error"]), "n": 1, "fatal": True, **head})
            for e in json.loads(call.get("agent_errors") or "[]"):
                text = f"{e['error']} ({e['where']})" if e["where"] else e["error"]
                if text not in str(call["error"]):  # it ended the call, and is told of above
                    rows.append({"error": text, "n": e["n"], "fatal": False, **head})
        columns = ["error", "n", "calls", "fatal", "arm", "replay"]
        table = pd.DataFrame(rows, columns=columns)
        table["line"] = [e.partition("\n")[0] for e in table["error"]]
        how = {"error": "first", "n": "sum", "calls": "sum", "replay": "first"}
        merged = table.groupby(["arm", "line", "fatal"], sort=False).agg(how).reset_index()
        return merged[columns]

    @property
    def digest(self) -> str:
        """A hash of every value in the turns table; equal digests mean equal results.

        It is independent of the order of the rows, and leaves ``experiment_id`` out, which names
        the code that was run and is no result of it.
        """
        table = self.turns.drop(columns="experiment_id", errors="ignore")
        if "answer_latency_s" in table and table["answer_latency_s"].equals(
            table["response_latency_s"]
        ):
            table = table.drop(columns="answer_latency_s")  # nothing but answers was heard
        swept = [str(c) for c in table if "." in str(c)]  # as text: one may hold numbers and words
        if swept:
            table = table.sort_values(swept, kind="stable", key=lambda c: c.astype(str))
        keys = [c for c in ("arm", "call", "turn") if c in table]
        text = table.sort_values(keys, kind="stable").to_csv(index=False) if len(table) else ""
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def simulated_s(self) -> float:
        """Conversation time simulated, seconds."""
        return float(self.calls["simulated_s"].sum()) if len(self.calls) else 0.0

    def save(self, path: str | Path) -> None:
        """Writes the turns to ``NAME.parquet``, and beside them ``NAME.calls.parquet`` and
        ``NAME.json``, the provenance.

        Raises:
            UsageError: the name does not end in ``.parquet``.
            OSError: a file cannot be written, as on a full disk; an older one is left as it was.
        """
        turns = checked_path(path)
        turns.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.provenance, indent=2, sort_keys=True) + "\n"
        with _whole(turns) as new:
            self.turns.to_parquet(new, index=False)
        with _whole(turns.with_suffix(".calls.parquet")) as new:
            self.calls.to_parquet(new, index=False)
        with _whole(turns.with_suffix(".json")) as new:
            new.write_text(text)

    def save_if_possible(self, path: str | Path) -> None:
        """The same, but where the files cannot be written, :attr:`unsaved` and a line say why:
        what was computed is not lost for it.

        Raises:
            UsageError: the name does not end in ``.parquet``.
        """
        try:
            self.save(path)
        except OSError as e:
            self.unsaved = f"{path}: {e.strerror or e}"
            tell(f"the tables are not written: {self.unsaved}")

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Reads what :meth:`save` wrote."""
        turns = Path(path)
        return cls(
            pd.read_parquet(turns),
            pd.read_parquet(turns.with_suffix(".calls.parquet")),
            json.loads(turns.with_suffix(".json").read_text()),
        )


def each_once(calls: pd.DataFrame, column: str) -> list[Any]:
    """What a column of the calls table holds as JSON lists, each text or dict once, in order.

    Dicts that differ in nothing but ``t_s`` are the same; the first one's is kept.
    """
    found: dict[str, Any] = {}
    for text in filter(None, calls.get(column, ())):
        for entry in json.loads(text):
            same = {k: v for k, v in entry.items() if k != "t_s"} if type(entry) is dict else entry
            found.setdefault(json.dumps(same, sort_keys=True), entry)
    return list(found.values())


def joined(one: Results, other: Results) -> Results:
    """The results of two runs of the same arms that made other calls."""
    axes = [c for c in one.calls if c == "arm" or "." in str(c)]
    turns, calls = (
        pd.concat([a, b], ignore_index=True)
        for a, b in ((one.turns, other.turns), (one.calls, other.calls))
    )
    places = list(dict.fromkeys(calls[axes].astype(str).itertuples(index=False, name=None)))

    def ordered(table: pd.DataFrame) -> pd.DataFrame:
        there = table[axes].astype(str).itertuples(index=False, name=None)
        order = table.assign(_place=[places.index(p) for p in there])
        keys = ["_place", *(k for k in ("call", "turn") if k in table)]
        return order.sort_values(keys, kind="stable", ignore_index=True).drop(columns="_place")

    counts = {
        name: one.provenance[name] + other.provenance[name]
        for name in ("n_calls", "n_calls_finished")
    }
    assumed = each_once(calls, "assumed")
    return Results(
        ordered(turns) if len(turns) else turns,
        ordered(calls),
        {**one.provenance, **counts, **({"assumed": assumed} if assumed else {})},
        wall_s=one.wall_s + other.wall_s,
        interrupted=other.interrupted,
        n_known=one.n_known + other.n_known,
    )


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name to write to; the file gets its own when it is complete."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


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
