"""Words that the agent's code says before, or instead of, what its model wrote."""

from __future__ import annotations

from labkit.measure.turn_logs import NAN, TurnLogs, letters
from labkit.world.events import Ended, FirstAudio, FirstToken, Request, Text

_HEAD = 24  # letters by which a text is known


def later_answer_s(logs: TurnLogs, filler_s: float) -> float:
    """The first sound of the model's answer after a filler; NaN if none follows in the turn.

    Where no model was asked to speak, as by an agent with canned answers, they are the answer.

    Args:
        logs: The logs of the turn.
        filler_s: When the filler's first sound was heard, seconds.
    """
    answers = [letters(e.text) for e in logs.of(Ended) if e.text]
    if not answers and not any(e.tool_calls for e in logs.of(Ended)):
        return filler_s
    first = {(e.provider, e.context): e.arrives_s for e in reversed(logs.of(FirstAudio))}
    for text in logs.of(Text):
        head, arrives_s = letters(text.text)[:_HEAD], first.get((text.provider, text.context))
        if arrives_s is None or not head or not any(a.startswith(head) for a in answers):
            continue
        for segment in logs.record.segments:
            after = segment.first_voiced_s > filler_s and segment.left_s >= arrives_s - 1e-6
            if after and segment.first_voiced_s < logs.until_s:
                return segment.first_voiced_s
    return filler_s if answers else NAN


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
