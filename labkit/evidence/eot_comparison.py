"""What policies do on one's own silences, beside what was published for the same policies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from labkit.evidence.eot_bench import LOCAL, SILENCE, EotBench, Point, Published
from labkit.evidence.eot_policy import (
    KNOBS,
    Policy,
    auc,
    best,
    counted,
    estimates,
    sweep,
    sweep_silence,
)
from labkit.evidence.intervals import LEVEL, of_quantile, wilson
from labkit.evidence.statistics import NOTHING, SPEAKER

FIT, CHECK = "input of the fit", "check"
"""What a published figure was for the callers: given to them, or left to see whether they agree."""
HEADLINE = Policy(0.36, 0.5, 1.5)
"""The published policy with the SDK's own threshold for English."""
ALLOWED = {"false_cutoffs": 0.05, "latency_s": 0.15, "ends_detected": 0.05}
"""Differences that still agree: proportions absolutely, latencies relatively."""
ALLOWED_SILENCE = {"false_cutoffs": 0.03, "latency_s": 0.15}
_BUDGETS: tuple[tuple[str, str, Mapping[str, float]], ...] = (
    ("cutoffs_at_300ms", "false_cutoffs", {"latency_s": 0.3}),
    ("cutoffs_at_600ms", "false_cutoffs", {"latency_s": 0.6}),
    ("latency_at_5_s", "latency_s", {"false_cutoffs": 0.05}),
    ("latency_at_10_s", "latency_s", {"false_cutoffs": 0.1}),
)
COLUMNS = (
    "detector", "at", "quantity", "role", "published", "ours", "low", "high",
    "speaker_low", "speaker_high", "difference", "allowed", "agrees",
)  # fmt: skip


def compared(silences: pd.DataFrame, bench: EotBench) -> pd.DataFrame:
    """Every published figure of silence alone and of the local detector, and ours.

    Args:
        silences: A table with the columns of :class:`labkit.evidence.eot_policy.Silence`.
        bench: What was published.

    Returns:
        One row per figure: ``detector``, ``at`` (the policy or the budget), ``quantity``, ``role``,
        ``published``, ``ours`` with its 95% CI by turn (``low``, ``high``) and by speaker,
        ``difference`` (ours less the published; of a latency as a proportion of it), the
        difference ``allowed``, and whether it ``agrees``. A policy within a budget is chosen
        from the published grid on the silences it is then counted on: its interval does not
        cover the choice.
    """
    rows = []
    for detector, role in ((bench[SILENCE], FIT), (bench[LOCAL], CHECK)):
        for point in detector.points:
            rows += _at_point(silences, point)
        swept = sweep_silence(silences) if detector.id == SILENCE else sweep(silences)
        rows += [_within(silences, swept, detector, role, *budget) for budget in _BUDGETS]
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(
        ["detector", "role"], key=lambda c: c.map([SILENCE, LOCAL, FIT, CHECK].index),
        kind="stable", ignore_index=True,
    )  # fmt: skip


def _at_point(silences: pd.DataFrame, point: Point) -> list[dict[str, Any]]:
    """The three outcomes of one published policy."""
    knobs = Policy(point.threshold, point.action_delay_s, point.timeout_s)
    roles = {"false_cutoffs": FIT, "latency_s": FIT, "ends_detected": CHECK}
    return [
        _row(silences, LOCAL, named(knobs), name, role, getattr(point, name), knobs)
        for name, role in roles.items()
    ]


def _within(
    silences: pd.DataFrame, swept: pd.DataFrame, detector: Published, role: str,
    published: str, quantity: str, budget: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    chosen = best(swept, **budget)
    knobs = None if chosen is None else Policy(*(float(chosen[k]) for k in KNOBS))
    at = f"best at {in_words(budget)}"
    row = _row(silences, detector.id, at, quantity, role, getattr(detector, published), knobs)
    if detector.id == SILENCE and quantity == "latency_s":
        row |= _length_ci(silences, 1 - budget["false_cutoffs"])
    return row


def _length_ci(silences: pd.DataFrame, q: float) -> dict[str, float]:
    """What silence alone must wait is a quantile of the lengths of pauses, which are uncertain."""
    pauses = counted(silences)[0]
    found: dict[str, float] = {}
    for by, name in ((["call", "turn"], ""), ([SPEAKER], "speaker_")):
        owner = pauses.groupby(by).ngroup().to_numpy()
        ends = of_quantile(
            pauses["length_s"].to_numpy(), owner, owner.max(initial=-1) + 1, q, LEVEL
        )
        found |= {f"{name}low": ends[0], f"{name}high": ends[1]}
    return found


def _row(
    silences: pd.DataFrame, detector: str, at: str, quantity: str, role: str, published: float,
    knobs: Policy | None,
) -> dict[str, Any]:  # fmt: skip
    own, speakers = (
        NOTHING if knobs is None else estimates(silences, knobs, by)[quantity]
        for by in ("turn", SPEAKER)
    )
    off = own.value - published
    difference = off / published if quantity == "latency_s" else off
    allowed = (ALLOWED_SILENCE if detector == SILENCE else ALLOWED)[quantity]
    return {
        "detector": detector, "at": at, "quantity": quantity, "role": role, "published": published,
        **own.row("ours"), "speaker_low": speakers.low, "speaker_high": speakers.high,
        "difference": difference, "allowed": allowed, "agrees": abs(difference) <= allowed + 1e-9,
    }  # fmt: skip


def named(knobs: Policy) -> str:
    """A policy as ``threshold / action delay / timeout``; of silence alone its length."""
    if math.isinf(knobs.threshold):
        return f"{knobs.timeout_s:.2f} s"
    return f"{knobs.threshold:.2f} / {knobs.action_delay_s:.1f} / {knobs.timeout_s:.1f}"


def in_words(budget: Mapping[str, float]) -> str:
    """``300 ms`` or ``5%``."""
    (kind, value), *_ = budget.items()
    return f"{1000 * value:.0f} ms" if kind == "latency_s" else f"{value:.0%}"


def speakers(silences: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """How each speaker's silences score at a threshold.

    Returns:
        One row per speaker: ``voice``, ``n_ends``, ``ends_detected`` (proportion) with its 95% CI
        (``low``, ``high``), ``n_pauses``, ``pauses_taken`` (proportion of the mid-turn silences
        that score as ends), ``auc``.
    """
    pauses, ends = counted(silences)
    rows = []
    for voice, own in ends.groupby(SPEAKER):
        between = pauses[pauses[SPEAKER] == voice]
        detected = float((own["score"] >= threshold).mean())
        low, high = wilson(detected, len(own))
        rows.append({
            SPEAKER: voice, "n_ends": len(own), "ends_detected": detected, "low": low, "high": high,
            "n_pauses": len(between),
            "pauses_taken": float((between["score"] >= threshold).mean()),
            "auc": auc(own["score"], between["score"]),
        })  # fmt: skip
    return pd.DataFrame(rows)


def moments(silences: pd.DataFrame) -> pd.DataFrame:
    """The score when a session asks beside the one 0.2 s after the last sound.

    Returns:
        One row per column of scores: ``asked`` ("by a session", "0.2 s after the last sound"), the
        proportion of ends and of mid-turn silences at or over 0.36 and 0.43 (``ends_0.36`` …), the
        ``auc``, and ``not_asked``, the proportion of mid-turn silences over before the question.
    """
    pauses, ends = counted(silences)
    rows = []
    for asked, column in (("by a session", "score"), ("0.2 s after the last sound", "early_score")):
        if column not in silences or silences[column].isna().all():
            continue
        row: dict[str, Any] = {"asked": asked}
        for at in (0.36, 0.43):
            row |= {f"{name}_{at}": float((part[column] >= at).mean())
                    for name, part in (("ends", ends), ("pauses", pauses))}  # fmt: skip
        row |= {"auc": auc(ends[column], pauses[column]),
                "not_asked": float(pauses[column].isna().mean())}  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)
