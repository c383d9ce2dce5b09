"""Do savings add up? What techniques save alone, in pairs and together, measured and predicted."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pandas as pd

from labkit.evidence import overlap, statistics
from labkit.evidence.paired import savings

ALL, SUM = "all together", "sum of single savings"
_KEY = ["call", "turn"]


def additivity(
    baseline: str,
    alone: Mapping[str, pd.DataFrame],
    together: pd.DataFrame,
    parts: Mapping[str, pd.DataFrame],
    stacked: Sequence[str],
    modes: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Mean savings of single techniques, their sum, and all together: measured and predicted.

    Args:
        alone: Turns of the baseline and of each technique alone.
        together: Turns of the stack.
        parts: Parts of the same arms' turns (:func:`labkit.evidence.overlap.parts`), from runs
            with preemption off.
        stacked: The techniques that are in the stack.
        modes: What a technique starts before the commit, unless it is the ``llm``.

    Returns:
        One row per technique, then :data:`SUM` (of those in the stack) and :data:`ALL`, with the
        mean saving in seconds over the turns that every arm answered: ``measured_s`` with its
        interval, and ``predicted_s`` by the overlap model.
    """
    modes = modes or {}
    latency = {name: _answered(turns) for name, turns in {**alone, ALL: together}.items()}
    shared = parts[baseline].index
    for index in (*(x.index for x in latency.values()), *(x.index for x in parts.values())):
        shared = shared.intersection(index)
    saved = {name: (latency[baseline] - own).loc[shared] for name, own in latency.items()}
    before = overlap.predict(parts[baseline]).loc[shared]
    expected = {
        name: before - overlap.predict(own, modes.get(name, "llm")).loc[shared]
        for name, own in parts.items()
    }
    both = overlap.combine(parts[baseline], {name: parts[name] for name in stacked}).loc[shared]
    mode = next((modes[name] for name in stacked if name in modes), "llm")
    expected[ALL] = before - overlap.predict(both, mode)
    nothing = pd.Series(0.0, index=shared)
    for table in (saved, expected):
        table[SUM] = sum((table[name] for name in stacked), nothing)
    names = [*(name for name in parts if name != baseline), SUM, ALL]
    return pd.DataFrame([
        {"arm": name, **_mean(saved[name], "measured"),
         "predicted_s": float(expected[name].mean()), "n_turns": len(shared)}
        for name in names
    ])  # fmt: skip


def interactions(turns: pd.DataFrame, baseline: str, techniques: Sequence[str]) -> pd.DataFrame:
    """What two techniques save together beyond the sum of what each saves alone.

    Args:
        turns: Turns of the baseline, of each technique alone and of each pair, named ``a+b``.

    Returns:
        One row per pair: ``first``, ``second``, and ``interaction_s`` with its interval, seconds;
        negative where savings overlap.
    """
    saved = savings(turns, baseline).set_index(["arm", *_KEY])["saved_s"]
    rows = []
    for a, b in itertools.combinations(techniques, 2):
        extra = (saved[f"{a}+{b}"] - saved[a] - saved[b]).dropna()
        rows.append({"first": a, "second": b, **_mean(extra, "interaction")})
    columns = ["first", "second", *(f"interaction{end}_s" for end in ("", "_low", "_high"))]
    return pd.DataFrame(rows, columns=columns)


def _answered(turns: pd.DataFrame) -> pd.Series:
    return turns[turns["outcome"] == "answered"].set_index(_KEY)["response_latency_s"]


def _mean(values: pd.Series, name: str) -> dict[str, float]:
    return statistics.mean(values.rename("x").reset_index(), "x").columns(name, "_s")
