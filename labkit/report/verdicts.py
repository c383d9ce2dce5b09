"""A study's verdict: rows compared with rules and claims that were fixed before the data.

``figures/NOTEBOOK/verdict.json`` is what the report's front page and the claims ledger read::

    {"notebook": "08_tts_warmup",
     "headline": "prewarm",            the arm whose row speaks for the study
     "verdict": "adopt",               its advice; the claim's outcome where none is given
     "statement": "prewarm: adopt. …", its sentence
     "rows": [ … ],                    one object per arm, with the keys of ``COLUMNS``
     "harms": [ … ]}                   other harms, as ``figures.harm_changes`` gives them

Times are seconds, harms are proportions or counts per turn; null stands for "none" or "unknown".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.errors import unknown
from labkit.evidence import statistics
from labkit.evidence.claims import DIFFERS, Claim, level_outcome, saving_outcome
from labkit.evidence.statistics import Estimate
from labkit.report.saving import ends, figures_dir, records, write_json
from labkit.report.verdict_text import is_none, sentence, table

__all__ = [
    "COLUMNS",
    "HARM",
    "Claim",
    "latency_claim",
    "ledger",
    "rows",
    "save_verdict",
    "statement",
    "table",
]

HARM = "premature or no reply"
"""The harm that ``lab.compare`` weighs unless it is told otherwise."""

COLUMNS = {
    "arm": "what was tried",
    "measures": "saving (against the baseline; positive is good) or latency (the level itself)",
    "n_turns": "turns of the arm",
    "saving_s": "mean saving per turn, seconds; the verdict rests on it; null for a level",
    "saving_low_s": "lower end of its CI, over calls",
    "saving_high_s": "upper end",
    "saving_speaker_low_s": "lower end of its CI over speakers",
    "saving_speaker_high_s": "upper end",
    "n_speakers": "how many there are",
    "n_pairs": "turns answered in both arms",
    "n_calls": "calls that they come from",
    "p50_s": "at the median, seconds",
    "p50_low_s": "lower end of its 95% CI",
    "p50_high_s": "upper end",
    "p95_s": "at the 95th percentile, seconds",
    "p95_low_s": "lower end of its 95% CI",
    "p95_high_s": "upper end",
    "harm_name": "the harm that was weighed against the saving; null where none was",
    "harm_kind": "share (happens on a turn or not), or the column whose mean per turn it is",
    "harm": "its increase over the baseline; positive is bad",
    "harm_low": "lower end of its 95% CI",
    "harm_high": "upper end",
    "claim": "who claims what; null where nothing is claimed of this arm",
    "claimed_quantile": "the quantile that the claim speaks of",
    "claimed_low_s": "lower end of the claimed band, seconds",
    "claimed_high_s": "upper end",
    "claim_outcome": "how the claim fared, in the words of labkit.evidence.claims",
    "gain": "faster, no practical difference, slower or undecided; null for a level",
    "harm_verdict": "less, within the limit, more or undecided",
    "advice": "adopt, trade-off, no practical difference, reject or undecided",
    "reason": "why, one sentence",
    "more_calls": "about how many more would decide; 0 if it is decided, or on a limit",
    "statement": "the row as a sentence",
}
"""Columns of a table of verdicts and keys of a row in ``verdict.json``."""


def rows(
    comparison: pd.DataFrame,
    *,
    claim: Claim | Mapping[str, Claim] | None = None,
    harm: str = HARM,
    harm_kind: str = "share",
    differs: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Verdicts of a comparison, one row per arm.

    Args:
        claim: A claimed saving, of every arm or by arm.
        harm_kind: ``share`` if it is a proportion of turns; otherwise the column of which
            ``lab.compare`` took the mean, such as ``llm_wasted_tokens``, for its unit.
        differs: Arms in which the claimed mechanism was found not to exist, each with what was
            found instead; their outcome is ``mechanism differs``.

    Returns:
        A table with the columns of ``COLUMNS``.

    Raises:
        ValueError: a claim or a differing mechanism of an arm that was not compared.
    """
    arms = [str(name) for name in comparison["arm"]]
    claims = claim if isinstance(claim, Mapping) else dict.fromkeys(arms, claim)
    for name in (*claims, *(differs or {})):
        _known_arm(name, arms)
    if any(c is not None and c.quantity == "level" for c in claims.values()):
        raise ValueError("the claim is about a latency, not a saving: use latency_claim")
    found = []
    for row in records(comparison):
        arm = str(row["arm"])
        parts: dict[str, Any] = {"measures": "saving", "harm_name": harm, "harm_kind": harm_kind}
        parts |= {k: row[k] for k in COLUMNS if k in row and k[:3] not in ("p50", "p95")}
        for p in ("p50", "p95"):
            parts |= {f"{p}{end}_s": row[f"saving_{p}{end}_s"] for end in ("", "_low", "_high")}
        parts |= _compared(parts, claims.get(arm), (differs or {}).get(arm))
        found.append({**parts, "statement": sentence(parts)})
    return pd.DataFrame(found, columns=list(COLUMNS))


def latency_claim(
    turns: pd.DataFrame, claim: Claim, *, arm: str = "vanilla", column: str = "response_latency_s"
) -> pd.DataFrame:
    """Compares a claimed band of a latency (not of a saving) with the turns of one arm.

    Returns:
        One row with the columns of ``COLUMNS``; nothing is decided and no harm is weighed.
    """
    parts: dict[str, Any] = {"arm": arm, "measures": "latency", "n_turns": len(turns)}
    for p, q in (("p50", 0.5), ("p95", 0.95)):
        parts |= statistics.quantile(turns, q, column).columns(p, "_s")
    found = statistics.quantile(turns, claim.quantile, column)
    parts |= _terms(claim) | {"claim_outcome": level_outcome(found, claim)}
    parts["reason"] = f"{found.n} turns in {found.n_calls} calls"
    parts["statement"] = sentence(parts)
    return pd.DataFrame([parts], columns=list(COLUMNS))


def statement(verdicts: pd.DataFrame, headline: str | None = None) -> str:
    """The sentence of one arm, the first by default."""
    return str(_headline(verdicts, headline)["statement"])


def save_verdict(
    verdicts: pd.DataFrame,
    notebook: str,
    to: str | Path | None = None,
    *,
    headline: str | None = None,
    harms: pd.DataFrame | None = None,
) -> Path:
    """Writes ``NOTEBOOK/verdict.json`` if it says something new.

    Args:
        headline: The arm that speaks for the study; the first by default.

    Returns:
        The file.

    Raises:
        ValueError: no such arm, or the table lacks a column.
    """
    lacking = [name for name in COLUMNS if name not in verdicts]
    if lacking:
        raise ValueError(f"a table of verdicts needs the columns {', '.join(lacking)} as well")
    first = _headline(verdicts, headline)
    path = figures_dir(to) / notebook / "verdict.json"
    content = {
        "notebook": notebook,
        "headline": first["arm"],
        "verdict": first["claim_outcome"] if is_none(first["advice"]) else first["advice"],
        "statement": first["statement"],
        "rows": records(verdicts[list(COLUMNS)]),
        "harms": [] if harms is None else records(harms),
    }
    write_json(path, content)
    return path


def ledger(to: str | Path | None = None) -> pd.DataFrame:
    """Every verdict that was saved, one row per study and arm, in order of the notebooks.

    Returns:
        ``notebook``, ``headline`` (whether the row speaks for its study) and ``COLUMNS``.
    """
    found = []
    for path in sorted(figures_dir(to).glob("*/verdict.json")):
        study = json.loads(path.read_text(encoding="utf-8"))
        found += [
            {"notebook": study["notebook"], "headline": row["arm"] == study["headline"], **row}
            for row in study["rows"]
        ]
    return pd.DataFrame(found, columns=["notebook", "headline", *COLUMNS])


def _known_arm(name: str, arms: Sequence[str]) -> None:
    if name not in arms:
        raise ValueError(unknown("arm", name, arms))


def _headline(verdicts: pd.DataFrame, arm: str | None) -> dict[str, Any]:
    known = {str(row["arm"]): row for row in records(verdicts)}
    if not known:
        raise ValueError("a verdict needs at least one arm")
    if arm is not None:
        _known_arm(arm, list(known))
    return known[arm] if arm is not None else next(iter(known.values()))


def _compared(parts: Mapping[str, Any], claim: Claim | None, differs: str | None) -> dict[str, Any]:
    if claim is None:
        return {"reason": f"{parts['reason']}; {differs}" if differs else parts["reason"]}
    if differs:
        outcome = {"claim_outcome": DIFFERS, "reason": f"{parts['reason']}; {differs}"}
        return _terms(claim) | outcome
    if math.isnan(claim.low_s):
        return _terms(claim)  # nothing that could be measured is claimed
    p = f"p{claim.quantile * 100:g}"
    if f"{p}_s" not in parts:
        raise ValueError(f"a claim about {p} cannot be checked: p50 and p95 are compared")
    saving = Estimate(*ends(parts, p, "_s"), int(parts["n_turns"]), 0)
    return _terms(claim) | {"claim_outcome": saving_outcome(saving, claim)}


def _terms(claim: Claim) -> dict[str, Any]:
    return {"claim": claim.text, "claimed_quantile": claim.quantile,
            "claimed_low_s": claim.low_s, "claimed_high_s": claim.high_s}  # fmt: skip
