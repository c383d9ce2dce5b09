"""Study 06: which first words are lost while the agent greets, and before it has joined."""

from __future__ import annotations

import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import compare
from labkit.evidence.units import percent_ci, with_ci
from labkit.evidence.verdict import Rules
from labkit.report import figures, verdicts
from labkit.report.figures import Chart
from labkit.report.tables import titled

AEC = "aec_warmup_s"
ECHO = "caller.echo_db"
BARGE_IN = "caller.barge_in_after_s"
DIFFERS = {
    "as published": "it runs no echo canceller: the session is deaf for that long from its first "
    "speech on"
}
HANDSHAKE = "join.handshake_s"
START = "caller.start_after_s"
_DEFAULT_S = 3.0
"""``aec_warmup_duration`` where livekit-agents is told nothing."""


def arms(published_s: float) -> dict[str, Arm]:
    """The echo canceller's warm-up off, and as long as published, seconds."""
    return {
        "warm-up off": Arm("greeting", {AEC: 0.0}),
        "as published": Arm("greeting", {AEC: published_s}),
    }


def compared(polite: Results, rules: Rules) -> pd.DataFrame:
    """The published warm-up against none."""
    runs = polite.arms
    published = {"as published": runs["as published"]}
    return compare(runs["warm-up off"], published, rules=rules)


def barge_in_chart(turns: pd.DataFrame) -> Chart:
    """Words that reach the agent against the moment of the barge-in, by warm-up."""
    return figures.swept(
        turns, BARGE_IN, "kept_frac", "warm-up", q=None,
        x_name="caller begins to talk, after the greeting's first sound",
        y_name="words that reach the agent",
    )  # fmt: skip


def echo_chart(turns: pd.DataFrame) -> Chart:
    """Greetings that stop for their own echo against its level, by warm-up."""
    return figures.swept(
        turns, ECHO, "paused", "warm-up", share=True,
        x_name="echo in the caller's microphone, relative to the agent's voice (dB)",
        y_name="greetings that the agent's own echo stopped",
    )  # fmt: skip


def join_chart(turns: pd.DataFrame, column: str, name: str) -> Chart:
    """A column against the handshake, with and without a buffer, by the caller's start."""
    return figures.swept(
        turns, HANDSHAKE, column, "buffer", panel="start", q=None, x_name="handshake", y_name=name,
    )  # fmt: skip


def labelled(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with what a first-words study compares.

    Returns:
        The same rows plus ``warm-up`` (the echo canceller's, in words), ``buffer`` (whether the
        app recorded before the agent had joined), ``start`` (when the caller begins to talk, in
        words), ``kept_frac`` (proportion of the turn's words in a user message), ``lost``
        (whether none did), ``transcript_after_tap_s`` (the final transcript, from the moment the
        caller asked for the agent) and ``paused`` (whether the agent stopped its speech
        without reason).
    """
    out = turns.copy()
    if AEC in out:
        out["warm-up"] = [
            "off" if v == 0 else f"{v:g} s{', the default' if v == _DEFAULT_S else ''}"
            for v in out[AEC].fillna(_DEFAULT_S)
        ]
    if "join.preconnect" in out:
        on = out["join.preconnect"].fillna(False).astype(bool)
        out["buffer"] = on.map({True: "pre-connect buffer", False: "no buffer"})
    out["kept_frac"] = 1 - out["deletions"] / out["words_said"]
    out["lost"] = out["deletions"] == out["words_said"]
    if START in out:
        out["start"] = [f"the caller talks after {v:g} s" for v in out[START]]
    out["transcript_after_tap_s"] = out["at_transcript_s"]
    paused = out.get("agent_paused", pd.Series(0.0, out.index))
    out["paused"] = paused.fillna(0) > 0
    return out


def barge_in_table(turns: pd.DataFrame) -> pd.DataFrame:
    """What happened to the caller's words over the greeting, by warm-up and moment."""
    rows = []
    for (name, after_s), part in turns.groupby(["warm-up", BARGE_IN], sort=False):
        first = statistics.mean(part, "leading_deletions")
        gone = statistics.rate(part, part["outcome"] == "missed")
        rows.append({
            "warm-up": name,
            "talks over after (s)": after_s,
            "first words lost": with_ci(first, ".1f"),
            "barge-ins missed": percent_ci(gone, 0),
            "turns": len(part),
        })  # fmt: skip
    return titled(pd.DataFrame(rows).set_index("warm-up"), "warm-up")


def join_table(turns: pd.DataFrame) -> pd.DataFrame:
    """Words lost before the agent had joined, by buffer, start and handshake, with 95% CI."""
    rows = []
    for (name, start, handshake_s), part in turns.groupby(["buffer", "start", HANDSHAKE]):
        first = statistics.mean(part, "leading_deletions")
        heard = statistics.mean(part, "transcript_after_tap_s")
        rows.append({
            "buffer": name,
            "start": start,
            "handshake (s)": handshake_s,
            "first words lost": with_ci(first, ".1f"),
            "transcript after the tap (s)": with_ci(heard),
            "answered": int(part["outcome"].isin(["answered", "interrupted"]).sum()),
            "turns": len(part),
        })  # fmt: skip
    return titled(pd.DataFrame(rows).set_index("buffer"), "buffer")


def harms_of_barging_in(turns: pd.DataFrame, warm_up_s: float) -> pd.DataFrame:
    """What a warm-up changes for callers who barge in on the greeting, compared with none.

    One row per harm, as ``figures.harm_changes`` returns them.
    """
    length = turns[AEC].fillna(_DEFAULT_S)
    off, on = turns[length == 0], turns[length == warm_up_s]
    rows = []
    for name, column in (("first words lost", "leading_deletions"), ("barge-ins unheard", "lost")):
        found = statistics.difference(off, on, column)
        kind = "share" if column == "lost" else column
        rows.append({
            "harm": name, "kind": kind, "arm": "as published",
            "baseline": float(off[column].mean()), **found.row("value"),
        })  # fmt: skip
    return pd.DataFrame(rows)


def verdict_rows(comparison: pd.DataFrame, claim: Claim) -> pd.DataFrame:
    """What the study says of the published warm-up."""
    return verdicts.rows(comparison, claim=claim, differs=DIFFERS)
