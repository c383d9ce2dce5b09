"""Words that the agent says before its answer, and when the answer itself is heard.

The *first sound* of a reply is any speech; sound on a track of its own, such as ambience, is none.
The *answer* is what a model wrote to the caller's words. A filler is what is said before it: by the
agent's code, or by a model while a tool still runs.
"""

from __future__ import annotations

import math

from labkit.measure.turn_logs import NAN, TurnLogs, letters
from labkit.tunnel.record import ReplySegment
from labkit.world.events import AudioCut, AudioDone, Ended, FirstAudio, FirstToken, Request, Voiced

_HEAD = 24  # letters by which a text is known
_TICK_S = 1e-6
_SAME_S = 1e-4


def answer_heard_s(logs: TurnLogs, reply: ReplySegment, spoken: str) -> float:
    """When the first sound of the answer was heard; NaN if none was in the turn.

    Where no model was asked to speak, as by an agent with canned answers, they are the answer.

    Args:
        logs: The logs of the turn.
        reply: The reply, which may begin with a filler.
        spoken: The text that it spoke first, if that is known.
    """
    answers, called = _answers(logs), any(e.tool_calls for e in logs.of(Ended))
    first_s, by_code = reply.first_voiced_s, _said_by_code(logs, reply)
    if not answers:
        return NAN if called else first_s
    begins = bool(letters(spoken)) and _begins(letters(spoken), answers)
    if begins and not by_code:
        return first_s
    unheard = by_code  # what was cut off before its answer was no answer
    for piece in logs.of(Voiced):
        at_s = _place(piece, answers)
        played = _played(logs, reply, piece.context, by_code) if at_s == at_s else None
        if played is not None:
            segment, before_s = played
            heard_s = segment.heard_at(before_s + at_s)
            if first_s <= heard_s < logs.until_s:
                return heard_s
            unheard = True
    # what a model wrote and code passed on is an answer if no other follows
    return first_s if begins or not unheard else NAN


def tool_callers(logs: TurnLogs, said_s: float) -> list[Request]:
    """The requests whose answers called tools before some words were said, in order."""
    ends = {e.id: e for e in logs.of(Ended)}
    begun = {e.id for e in logs.of(FirstToken)}
    return [
        request
        for request in logs.of(Request)
        if request.id in begun
        and request.id in ends
        and ends[request.id].tool_calls
        and ends[request.id].arrives_s <= said_s
    ]


def _answers(logs: TurnLogs) -> list[str]:
    """What models wrote in the turn, in bare letters; not what they were asked while a tool ran."""
    sent = {e.id: e.sent_s for e in logs.of(Request)}
    done = [r["t_s"] for r in logs.session_of("tools")]
    runs = [
        (e.arrives_s, next((t_s for t_s in done if t_s >= e.arrives_s), e.arrives_s))
        for e in logs.of(Ended)
        if e.tool_calls
    ]
    texts = (
        letters(e.text)
        for e in logs.of(Ended)
        if not any(a - _SAME_S <= sent.get(e.id, NAN) < b - _SAME_S for a, b in runs)
    )
    return [text for text in texts if text]


def _said_by_code(logs: TurnLogs, reply: ReplySegment) -> bool:
    """Whether the reply began with words of the agent's code, as far as the session tells."""
    playing = [r["id"] for r in logs.session_of("plays") if abs(r["t_s"] - reply.left_s) < 1e-3]
    return any(
        r["event"] == "speech" and r["source"] == "say" and r.get("id") in playing
        for r in logs.record.session
    )


def _begins(words: str, answers: list[str]) -> bool:
    return any(a.startswith(words[:_HEAD]) or words.startswith(a) for a in answers)


def _place(piece: Voiced, answers: list[str]) -> float:
    """Where an answer begins in a piece of speech, seconds of its utterance; NaN if none does."""
    words = [letters(word.text) for word in piece.words]
    for n, word in enumerate(piece.words):
        rest = "".join(words[n:])
        if words[n] and _begins(rest, answers):
            return word.start_s
    return NAN


def _played(
    logs: TurnLogs, reply: ReplySegment, context: str, by_code: bool
) -> tuple[ReplySegment, float] | None:
    """The speech that plays an utterance, and at which second of its sound; None if none does."""
    begun = {e.context: e.arrives_s for e in reversed(logs.of(FirstAudio))}
    lengths = {e.context: e.audio_s for e in logs.of(AudioDone, AudioCut)}
    arrives_s = begun.get(context, math.inf)
    for segment in logs.record.segments:
        if not reply.left_s <= segment.left_s < logs.until_s:
            continue
        first_s = max((t for t in begun.values() if t <= segment.left_s + _TICK_S), default=NAN)
        if segment.left_s + _TICK_S >= arrives_s:
            # of what had arrived when the reply began, it played the latest
            if segment is not reply or (first_s == arrives_s and not by_code):
                return segment, 0.0
            continue
        if segment is reply and by_code:  # what code says ends before the model's words begin
            continue
        before_s = sum(lengths.get(c, NAN) for c, t in begun.items() if first_s <= t < arrives_s)
        if segment.sound_s > before_s + _TICK_S:
            return segment, before_s
    return None
