"""Harms: what a gain costs the caller, measured from the audio of both sides.

Everything is measured at the caller: its own sounds as they leave the mouth, the agent's as they
reach the ear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jiwer import process_words

from labkit.measure.turn_end import false_endpoints
from labkit.measure.turn_logs import NAN, until_s
from labkit.tunnel.record import CallerTurn, CallRecord, ReplySegment
from labkit.world.turn import normalise

HARMS: dict[str, tuple[str, str]] = {
    "n_false_endpoints": (
        "",
        "times the session committed the turn before its last sound had reached the agent; "
        "each becomes a premature reply unless the caller goes on before the reply is ready",
    ),
    "n_premature_replies": (
        "",
        "agent speech that began at the caller's ear after the turn's first sound and before its "
        "last one; a pause inside the turn belongs to the turn",
    ),
    "overlap_s": ("s", "the turn's own sounds and the agent's at once; pauses do not count"),
    "yield_s": (
        "s",
        "barge-in: from the caller's first sound to the agent's last one of that "
        "speech; NaN for turns that were not begun over the agent",
    ),
    "unanswered": (
        "",
        "none of the agent speech begun in this turn was heard after its last sound",
    ),
    "n_false_interruptions": (
        "",
        "times a reply that began after the turn's end fell silent with something left to say, "
        "although the caller had not begun the next turn",
    ),
    "n_resumed": ("", "how many of these replies resumed where they had stopped"),
    "n_false_starts": ("", "times the session mistook another sound for the caller's speech"),
    "n_messages": (
        "",
        "user messages that hold words of the turn; more than one means it was split",
    ),
    "words_said": ("", "words of the turn"),
    "deletions": ("", "words of the turn that are in no user message"),
    "leading_deletions": ("", "how many of the deletions are at the turn's head in one piece"),
    "trailing_deletions": ("", "how many of the deletions are at its tail in one piece"),
    "insertions": ("", "words in user messages that the caller did not say then"),
    "n_backchannels": ("", "backchannels during the reply"),
    "n_backchannels_answered": ("", "how many of them became part of a user message"),
}
"""The harm columns of the turns table: unit and meaning."""

_SETTLES_S = 0.3
"""The VAD may report a sound this long after its end."""

Spans = Sequence[tuple[float, float]]


def harms(record: CallRecord) -> list[dict[str, Any]]:
    """The harm columns of every turn of a call, in order."""
    words = _match_words(record)
    return [
        _of_audio(record, turn, until_s(record, i)) | words[i].row()
        for i, turn in enumerate(record.turns)
    ]


# audio


def _of_audio(record: CallRecord, turn: CallerTurn, until_s: float) -> dict[str, Any]:
    sounds = _without([(turn.started_s, turn.stopped_s)], turn.pauses)
    agent = [span for s in record.segments for span in s.voiced]
    own = [s for s in record.segments if turn.started_s <= s.left_s < until_s]
    breaks = [
        b
        for s in own
        for b in s.breaks
        if s.first_voiced_s > turn.stopped_s and turn.stopped_s < b[0] < until_s
    ]
    return {
        "n_false_endpoints": false_endpoints(record, turn, until_s),
        "n_premature_replies": sum(turn.started_s < s.first_voiced_s < turn.stopped_s for s in own),
        "overlap_s": _overlap_s(sounds, agent),
        "yield_s": _yield_s(record.segments, turn),
        "unanswered": not any(b > turn.stopped_s for s in own for _, b in s.voiced),
        "n_false_interruptions": len(breaks),
        "n_resumed": sum(resumed_s == resumed_s for _, resumed_s in breaks),
        "n_false_starts": _false_starts(record, turn.started_s, until_s),
    }


def _yield_s(segments: Iterable[ReplySegment], turn: CallerTurn) -> float:
    if not turn.barged_in:
        return NAN
    before = [s.last_voiced_s for s in segments if s.first_voiced_s < turn.started_s]
    return max(before[-1] - turn.started_s, 0.0) if before else NAN


def _false_starts(record: CallRecord, from_s: float, until_s: float) -> int:
    sounds = [(t.started_s, t.stopped_s) for t in record.turns]
    sounds += [(b.started_s, b.stopped_s) for b in record.backchannels]
    starts = [
        r["t_s"] - record.up_delay_s
        for r in record.session
        if r["event"] == "user_state" and r["state"] == "speaking" and from_s <= r["t_s"] < until_s
    ]
    return sum(not any(a <= t <= b + _SETTLES_S for a, b in sounds) for t in starts)


def _without(spans: Spans, holes: Spans) -> list[tuple[float, float]]:
    """What remains of spans when holes, in order, are taken out."""
    rest = list(spans)
    for from_s, to_s in holes:
        rest = [
            part
            for a, b in rest
            for part in ((a, min(b, from_s)), (max(a, to_s), b))
            if part[0] < part[1]
        ]
    return rest


def _overlap_s(ours: Spans, theirs: Spans) -> float:
    shared = (min(b, d) - max(a, c) for a, b in ours for c, d in theirs)
    return sum(s for s in shared if s > 0)


# words


@dataclass
class _Words:
    """What became of the words of one turn."""

    kept: list[bool] = field(default_factory=list)
    messages: set[int] = field(default_factory=set)
    n_added: int = 0
    backchannels: dict[int, bool] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        lost = self.kept.count(False)
        return {
            "n_messages": len(self.messages),
            "words_said": len(self.kept),
            "deletions": lost,
            "leading_deletions": self.kept.index(True) if any(self.kept) else lost,
            "trailing_deletions": self.kept[::-1].index(True) if any(self.kept) else lost,
            "insertions": self.n_added,
            "n_backchannels": len(self.backchannels),
            "n_backchannels_answered": sum(self.backchannels.values()),
        }


def _same_words(said: Sequence[str], heard: Sequence[str]) -> dict[int, int]:
    """The words heard as they were said, in the alignment with the fewest edits: their places."""
    if not said or not heard:
        return {}
    chunks = process_words(" ".join(said), " ".join(heard)).alignments[0]
    return {
        c.ref_start_idx + k: c.hyp_start_idx + k
        for c in chunks
        if c.type == "equal"
        for k in range(c.ref_end_idx - c.ref_start_idx)
    }


def _match_words(record: CallRecord) -> list[_Words]:
    """Aligns all the caller said in a call with all its user messages.

    The whole call at once, because a message may arrive after the next turn has begun.
    """
    found = [_Words() for _ in record.turns]
    said = [(t.started_s, t.index, -1, normalise(t.text).split()) for t in record.turns]
    said += [
        (b.started_s, b.turn, n, normalise(b.text).split())
        for n, b in enumerate(record.backchannels)
    ]
    spoken = [(w, turn, n) for _, turn, n, words in sorted(said) for w in words]
    messages = [r for r in record.session if r["event"] == "item" and r["role"] == "user"]
    heard = [(w, i) for i, r in enumerate(messages) for w in normalise(r["text"]).split()]
    to_heard = _same_words([w for w, *_ in spoken], [w for w, _ in heard])
    for k, (_, turn, n) in enumerate(spoken):
        if n >= 0:
            found[turn].backchannels[n] = found[turn].backchannels.get(n, False) or k in to_heard
            continue
        found[turn].kept.append(k in to_heard)
        if k in to_heard:
            found[turn].messages.add(heard[to_heard[k]][1])
    turn = 0
    from_heard = {b: a for a, b in to_heard.items()}
    for k in range(len(heard)):
        if k in from_heard:
            turn = spoken[from_heard[k]][1]
        elif found:
            found[turn].n_added += 1
    return found
