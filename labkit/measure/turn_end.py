"""How the end of each turn was decided: the detector's probabilities, the session's commits."""

from __future__ import annotations

from typing import Any

from labkit.measure.turn_logs import NAN, until_s
from labkit.tunnel.record import CallerTurn, CallRecord
from labkit.world.events import Scored


def turn_ends(record: CallRecord) -> list[dict[str, Any]]:
    """For every turn of a call the columns:

    * ``n_pauses``: pauses inside the turn.
    * ``eot_prob``: the turn detector's probability that the turn is over, as last asked for between
      the turn's last sound and the commit; NaN if it was not asked.
    * ``eot_pause_prob``: the highest one while the turn was still going on.
    * ``end_of_turn_s``: from the turn's last sound at the agent's ear to the final commit.
    * ``handover_s``: from the release of a push-to-talk button to the same moment.
    """
    return [_row(record, i) for i in range(len(record.turns))]


def commits(record: CallRecord, from_s: float, until_s: float) -> list[float]:
    """When the session committed what it had heard as a turn, seconds.

    The end-of-turn delay counts from the end of speech as the session sees it, so their sum is the
    moment of the decision; the agent's own hook runs later.
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
    heard_s = turn.stopped_s + record.up_delay_s
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
    asked += [
        (e.sent_s, e.probability)
        for e in record.providers
        if isinstance(e, Scored) and turn.started_s <= e.sent_s < over_s
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
    """How often the session committed a turn before its last sound had reached it."""
    heard_s = turn.stopped_s + record.up_delay_s
    return sum(t < heard_s for t in commits(record, turn.started_s, until_s))
