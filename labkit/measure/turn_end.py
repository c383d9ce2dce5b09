"""How the end of each turn was decided: what the detector thought, when the session decided."""

from __future__ import annotations

from typing import Any

from labkit.measure.turn_logs import NAN, until_s
from labkit.tunnel.record import CallerTurn, CallRecord


def turn_ends(record: CallRecord) -> list[dict[str, Any]]:
    """For every turn of a call the columns:

    * ``n_pauses``: pauses inside the turn.
    * ``eot_prob``: the turn detector's probability that the turn is over, asked for the last time
      before the session made up its mind after the turn's last sound; NaN if it was not asked.
    * ``eot_pause_prob``: the highest one asked for while the turn was still going on.
    * ``end_of_turn_s``: from the turn's last sound at the agent's ear to the moment at which the
      session took the turn for finished, for good.
    * ``handover_s``: from letting go of a push-to-talk button to the same moment.
    """
    return [_row(record, i) for i in range(len(record.turns))]


def commits(record: CallRecord, from_s: float, until_s: float) -> list[float]:
    """When the session took what it had heard for a finished turn, seconds.

    An end-of-turn delay counts from what the session thinks was the last speech, so their sum is
    the moment of the decision; what the agent's own code does then comes later.
    """
    moments = []
    for r in record.session:
        if r["event"] == "item" and r["role"] == "user" and from_s <= r["t_s"] < until_s:
            metrics = r.get("metrics", {})
            stopped_s = metrics.get("stopped_speaking_at", NAN)
            decided_s = stopped_s + metrics.get("end_of_turn_delay", NAN)
            moments.append(decided_s if decided_s == decided_s else r["t_s"])
    return moments


def _row(record: CallRecord, i: int) -> dict[str, Any]:
    turn, over_s = record.turns[i], until_s(record, i)
    heard_s = turn.stopped_s + record.line_delay_s
    replies = [
        s.left_s
        for s in record.segments
        if turn.started_s <= s.left_s < over_s and s.last_voiced_s > turn.stopped_s
    ]
    # what is committed once the reply has begun is something else: a hum, or hanging up
    decided = commits(record, turn.started_s, min(replies, default=over_s))
    last_s = max(decided, default=NAN)
    asked = [
        (r["t_s"], r["probability"])
        for r in record.session
        if r["event"] == "eot" and turn.started_s <= r["t_s"] < over_s
    ]
    after = [p for t, p in asked if t >= heard_s and not t > last_s]
    during = [p for t, p in asked if t < heard_s]
    return {
        "n_pauses": len(turn.pauses),
        "eot_prob": after[-1] if after else NAN,
        "eot_pause_prob": max(during, default=NAN),
        "end_of_turn_s": last_s - heard_s,
        "handover_s": last_s - turn.released_s,
    }


def false_endpoints(record: CallRecord, turn: CallerTurn, until_s: float) -> int:
    """How often the session took a turn for finished before its last sound had reached it."""
    heard_s = turn.stopped_s + record.line_delay_s
    return sum(t < heard_s for t in commits(record, turn.started_s, until_s))
