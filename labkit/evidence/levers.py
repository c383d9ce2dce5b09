"""Removal savings: what each lever buys, measured by running the same calls with it moved.

The agent runs as it is, and once for every lever with exactly that one thing moved. All arms hear
the same callers and see the same random draws, so a turn is compared with itself. A stage's length
does not say what it costs, because branches overlap; this does.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.engine.experiment import N_CALLS_OF_MANY, Arm, Experiment
from labkit.engine.progress import Progress
from labkit.engine.sweep import sweep
from labkit.engine.tables import Results
from labkit.errors import UsageError
from labkit.evidence import additivity, statistics
from labkit.evidence.compare import compare
from labkit.evidence.moves import Baseline, Move, moves
from labkit.tunnel.spec import N_TURNS, SEED

AS_IS = "as it is"
"""The arm in which nothing is moved."""
TOP = 3
"""How many of the best levers are also moved in pairs."""
_PAIR = ["first", "second", *(f"interaction{end}_s" for end in ("", "_low", "_high"))]
_CHANGES = ("n_false_endpoints", "llm_wasted_tokens", "usd")
_ENDS = ("", "_low", "_high")
_COMPARED = (
    "n_turns", "n_pairs", "n_calls",
    *(f"saving{p}{end}_s" for p in ("", "_p50", "_p95") for end in _ENDS),
    "saving_speaker_low_s", "saving_speaker_high_s", "n_speakers",
    *(f"harm{end}" for end in _ENDS), "gain", "harm_verdict", "advice", "reason",
)  # fmt: skip


@dataclass
class Levers:
    """What the levers of an agent buy, and what they cost.

    Attributes:
        table: One row per lever, in the order of what each saves at least (the lower end of its
            CI): ``lever``, ``owner``, ``moved``; from :func:`labkit.evidence.compare.compare` the
            saving per turn (``saving_s`` with its CI over calls and over speakers), at p50 and at
            p95, the added ``harm`` and the advice; per turn what is added of
            ``n_false_endpoints``, ``llm_wasted_tokens`` and ``usd``, each with its 95% CI
            (``…_low``, ``…_high``); ``how`` to do it, and ``code``. The intervals of savings and
            harm are simultaneous over all levers.
        interactions: One row per pair of the best: ``first``, ``second``, and ``interaction_s``,
            what they save together less the sum of what each saves alone, with its CI.
        skipped: Levers that do not apply: ``lever``, ``owner``, ``reason``.
        results: All turns and calls.
    """

    table: pd.DataFrame
    interactions: pd.DataFrame
    skipped: pd.DataFrame
    results: Results


def levers(
    agent: str = "vanilla",
    *,
    calls: int = N_CALLS_OF_MANY,
    turns: int = N_TURNS,
    seed: int = SEED,
    settings: Mapping[str, object] | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Levers:
    """Measures what each lever of an agent buys, alone, and the best of them in pairs.

    Args:
        agent, calls, turns, seed, workers, scheduler, out, progress: As of
            :func:`labkit.engine.run.run`; ``calls`` are those of each arm.
        settings: Set in all arms.

    Raises:
        UsageError, SettingError, AgentFileError, ProfileError: nothing was measured; also if the
            agent as it is answers no turn.
    """
    base = dict(settings or {})

    def run(arms: Mapping[str, Mapping[str, object]], to: str | Path | None = None) -> Results:
        experiment = Experiment(
            {name: Arm(agent, {**base, **change}) for name, change in arms.items()},
            calls=calls, turns=turns, seed=seed,
        )  # fmt: skip
        return sweep(experiment, workers=workers, scheduler=scheduler, out=to, progress=progress)

    # each sweep holds the one before, whose calls are known by then
    found = run({AS_IS: {}}, out)
    _check(agent, found)
    known = moves(Baseline.of(found, base))
    arms: dict[str, Mapping[str, object]] = {AS_IS: {}}
    arms |= {m.name: m.settings for m in known if not m.skipped}
    if not found.interrupted:
        found = run(arms, out)
    best: list[str] = []
    if not found.interrupted:
        best = best_of(measured(found.turns, known))
        pairs = pairs_of(best, arms)
        found = run(arms | pairs, out) if pairs else found
    return summary(found, known, best)


def summary(results: Results, known: Sequence[Move], best: Sequence[str] = ()) -> Levers:
    """What is known of levers that have been run.

    Args:
        results: An arm :data:`AS_IS`, one by the name of each lever, and one for pairs.
        known: All levers.
        best: Those that were also moved in pairs.
    """
    table = measured(results.turns, known)
    skipped = [(m.name, m.owner, m.skipped) for m in known if m.skipped]
    errors = results.failed.drop_duplicates("arm").set_index("arm")["error"]
    lost = [m for m in known if not m.skipped and m.name not in set(table["lever"])]
    skipped += [(m.name, m.owner, str(errors.get(m.name, "not run"))) for m in lost]
    run = set(results.calls["arm"])
    there = [pair for pair in itertools.combinations(best, 2) if both(*pair) in run]
    return Levers(
        table,
        interactions(results.turns, there),
        pd.DataFrame(skipped, columns=["lever", "owner", "reason"]),
        results,
    )


def measured(turns: pd.DataFrame, known: Sequence[Move]) -> pd.DataFrame:
    """The table of :class:`Levers`: every lever that was run, what surely buys most first."""
    if not len(turns):
        return pd.DataFrame(columns=["lever", "saving_s"])
    by_arm = dict(iter(turns.groupby("arm", sort=False)))
    run = [m for m in known if not m.skipped and m.name in by_arm]
    found = compare(by_arm[AS_IS], {m.name: by_arm[m.name] for m in run})
    compared = found.set_index("arm") if len(found) else found
    rows: list[dict[str, Any]] = []
    for m in run:
        row: dict[str, Any] = {"lever": m.name, "owner": m.owner, "moved": m.moved}
        row |= {name: compared.at[m.name, name] for name in _COMPARED}
        for column in _CHANGES:
            added = statistics.difference(by_arm[AS_IS], by_arm[m.name], column)
            row |= added.columns(column)
        rows.append({**row, "how": m.how, "code": m.code})
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["lever", "saving_s"])
    order = ["saving_low_s", "saving_s"] if len(table) else ["saving_s"]
    return table.sort_values(order, ascending=False, kind="stable", ignore_index=True)


def best_of(table: pd.DataFrame) -> list[str]:
    """The levers worth combining: the first ones whose saving is above zero for certain."""
    sure = table[table["saving_low_s"] > 0] if len(table) else table
    return list(sure["lever"].head(TOP))


def both(one: str, other: str) -> str:
    """The name of the arm in which two levers are moved."""
    return f"{one}+{other}"


def pairs_of(
    best: Sequence[str], arms: Mapping[str, Mapping[str, object]]
) -> dict[str, Mapping[str, object]]:
    """The arms of the pairs; two levers that move the same setting have none."""
    return {
        both(a, b): {**arms[a], **arms[b]}
        for a, b in itertools.combinations(best, 2)
        if not set(arms[a]) & set(arms[b])
    }


def interactions(turns: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """What pairs save together less the sum of what each saves alone, seconds."""
    parts = [additivity.interactions(turns, AS_IS, pair) for pair in pairs]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_PAIR)


def _check(agent: str, found: Results) -> None:
    """Refuses an agent of which nothing can be compared."""
    if found.interrupted:
        return
    if not len(found.turns) or not (found.turns["outcome"] == "answered").any():
        errors = found.failed["error"]
        why = errors.iloc[0] if len(errors) else "no turn was answered"
        raise UsageError(f"{agent}: there is nothing to compare with: {why}")
