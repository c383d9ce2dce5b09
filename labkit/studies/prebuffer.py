"""Reads a study of first words: what is lost while the agent greets, and before it has joined."""

from __future__ import annotations

import pandas as pd

from labkit.evidence import statistics

AEC = "aec_warmup_s"
BARGE_IN = "caller.barge_in_after_s"
HANDSHAKE = "join.handshake_s"
START = "caller.start_after_s"
_DEFAULT_S = 3.0
"""``aec_warmup_duration`` where livekit-agents is told nothing."""


def labelled(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with what a first-words study compares.

    Args:
        turns: Turns of a sweep over any of the settings above.

    Returns:
        The same rows plus ``warm-up`` (the echo canceller's, in words), ``buffer`` (whether the
        app recorded before the agent had joined), ``start`` (when the caller begins to talk, in
        words), ``kept_frac`` (share of the turn's words that reached a user message), ``lost``
        (whether none did), ``transcript_after_tap_s`` (the final transcript, from the moment the
        caller asked for the agent) and ``paused`` (whether the agent stopped its speech for
        nothing).
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
    told = out["agent_paused"] if "agent_paused" in out else pd.Series(0.0, out.index)
    out["paused"] = told.fillna(0) > 0
    return out


def first_turns(turns: pd.DataFrame) -> pd.DataFrame:
    """The first turn of each call."""
    return turns[turns["turn"] == 0].reset_index(drop=True)


def barge_in_table(turns: pd.DataFrame) -> pd.DataFrame:
    """What became of the caller's words over the greeting, by warm-up and moment."""
    rows = []
    for (name, after_s), part in turns.groupby(["warm-up", BARGE_IN], sort=False):
        first = statistics.mean(part, "leading_deletions")
        gone = statistics.rate(part, part["outcome"] == "missed")
        rows.append({
            "warm-up": name,
            "talks over after (s)": after_s,
            "first words lost": f"{first.value:.1f} [{first.low:.1f}–{first.high:.1f}]",
            "barge-ins missed": f"{gone.value:.0%} [{gone.low:.0%}–{gone.high:.0%}]",
            "turns": len(part),
        })  # fmt: skip
    table = pd.DataFrame(rows).set_index("warm-up")
    return table.rename_axis(None).rename_axis("warm-up", axis="columns")


def join_table(turns: pd.DataFrame) -> pd.DataFrame:
    """Words lost before the agent had joined, by buffer, start and handshake, with intervals."""
    rows = []
    for (name, start, handshake_s), part in turns.groupby(["buffer", "start", HANDSHAKE]):
        first = statistics.mean(part, "leading_deletions")
        heard = statistics.mean(part, "transcript_after_tap_s")
        rows.append({
            "buffer": name,
            "start": start,
            "handshake (s)": handshake_s,
            "first words lost": f"{first.value:.1f} [{first.low:.1f}–{first.high:.1f}]",
            "transcript after the tap (s)": f"{heard.value:.2f} [{heard.low:.2f}–{heard.high:.2f}]",
            "answered": int(part["outcome"].isin(["answered", "interrupted"]).sum()),
            "turns": len(part),
        })  # fmt: skip
    table = pd.DataFrame(rows).set_index("buffer")
    return table.rename_axis(None).rename_axis("buffer", axis="columns")


def harms_of_barging_in(turns: pd.DataFrame, warm_up_s: float) -> pd.DataFrame:
    """What a warm-up changes for callers who talk over the greeting, against none.

    Args:
        turns: What :func:`labelled` returned, with warm-ups of 0 and ``warm_up_s`` among them.
        warm_up_s: The warm-up, seconds.

    Returns:
        One row per harm, as ``figures.harm_changes`` gives them.
    """
    length = turns[AEC].fillna(_DEFAULT_S)
    off, on = turns[length == 0], turns[length == warm_up_s]
    rows = []
    for name, column in (("first words lost", "leading_deletions"), ("barge-ins unheard", "lost")):
        found = statistics.difference(off, on, column, q=None)
        kind = "share" if column == "lost" else column
        rows.append({
            "harm": name, "kind": kind, "arm": "as published",
            "baseline": float(off[column].mean()), "value": found.value, "low": found.low,
            "high": found.high,
        })  # fmt: skip
    return pd.DataFrame(rows)
