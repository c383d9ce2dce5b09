"""The moments of a turn, found in what the caller heard, the providers did and the session said.

Providers are told apart by role: the STT, the LLM whose answer was spoken, the TTS that spoke it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from labkit.measure.turn_logs import NAN, TurnLogs, holds, letters
from labkit.world.events import (
    Connected,
    EagerEndOfTurn,
    Ended,
    FirstAudio,
    FirstToken,
    Request,
    Role,
    Text,
    TurnResumed,
)

MILESTONES = {
    "caller_started_s": "caller's first sound, at the mouth",
    "caller_stopped_s": "caller's last sound, at the mouth",
    "heard_s": "the last sound has reached the agent",
    "vad_stopped_s": "the VAD reported the end of speech",
    "eager_s": "the STT's eager end of turn reached the agent and was not withdrawn",
    "transcript_s": "the STT's final transcript reached the agent",
    "committed_s": "the session committed the turn",
    "hook_done_s": "on_user_turn_completed returned",
    "llm_request_s": "the request reached the LLM",
    "llm_first_token_s": "the LLM's first token reached the agent",
    "tts_text_s": "the first text left for the TTS",
    "tts_first_audio_s": "the TTS's first audio reached the agent",
    "agent_audio_left_s": "the agent began to play its reply",
    "reply_heard_s": "the reply's first sound reached the caller's ear",
    "reply_over_s": "the reply's last sound reached the caller's ear",
}
"""The milestones of a turn in order; columns with the prefix ``at_``."""

_FRAME_S = 0.05


class Milestones:
    """The milestones of one turn.

    Attributes:
        at: Each of :data:`MILESTONES`, seconds from the start of the call; NaN where it did not
            happen. Only where it did: ``tts_open``, the TTS socket opened in this turn, and
            ``tools_done_s``, the request with the tools' results left the agent.
        llm: When the LLM got the request and let the first token go, at its own end, seconds.
        tts: When the TTS got the text and let the first audio go, at its own end, seconds.
        served_model: The model whose answer was spoken, '' if unknown.
    """

    def __init__(self, logs: TurnLogs) -> None:
        self.logs = logs
        self.at = dict.fromkeys(MILESTONES, NAN)
        self.llm = self.tts = (NAN, NAN)
        self.served_model = ""
        turn, reply = logs.turn, logs.reply
        self.at["caller_started_s"], self.at["caller_stopped_s"] = turn.started_s, turn.stopped_s
        frames = math.ceil(round(turn.stopped_s / _FRAME_S, 6))
        self.at["heard_s"] = frames * _FRAME_S + logs.record.line_delay_s
        if reply is None:
            return
        self.at["agent_audio_left_s"] = reply.left_s
        self.at["reply_heard_s"] = reply.first_voiced_s
        self.at["reply_over_s"] = reply.last_voiced_s
        self._find_turn_end(reply.left_s)
        self._find_answer(self._find_speech(reply.left_s), reply.left_s)

    def _find_turn_end(self, left_s: float) -> None:
        at, logs = self.at, self.logs
        commits = []
        for r in logs.messages("user"):
            metrics = r["metrics"]
            if "stopped_speaking_at" in metrics:
                commit_s = metrics["stopped_speaking_at"] + metrics.get("end_of_turn_delay", 0.0)
                if commit_s <= left_s:
                    commits.append((commit_s, metrics.get("on_user_turn_completed_delay", 0.0)))
        if commits:
            at["committed_s"], hook_s = max(commits)
            at["hook_done_s"] = at["committed_s"] + hook_s
        said = [
            r["t_s"]
            for r in logs.session_of("speech")
            if r["source"] == "say" and r["t_s"] <= left_s + 1e-6
        ]
        if said:
            # what a hook says itself does not wait for the hook's end; and a turn that it takes
            # out of the SDK's hands (StopResponse) leaves no message: the commit is then known no
            # better than by the speech, so the hook's own time counts as waiting
            at["hook_done_s"] = max(said)
            at["committed_s"] = min(at["committed_s"], max(said)) if commits else max(said)
        decided_s = at["committed_s"] if commits or said else left_s
        at["vad_stopped_s"] = _last(
            r["t_s"]
            for r in logs.session_of("user_state")
            if r["state"] == "listening" and r["t_s"] <= decided_s
        )
        at["transcript_s"] = _last(
            r["t_s"] for r in logs.session_of("transcript") if r["t_s"] <= decided_s + 1e-6
        )
        for event in logs.of(EagerEndOfTurn, TurnResumed):
            if event.arrives_s <= decided_s:
                eager = isinstance(event, EagerEndOfTurn)
                at["eager_s"] = event.arrives_s if eager else NAN

    def _find_speech(self, left_s: float) -> str:
        """Finds the TTS context that was played; returns the text it spoke first, '' if unknown."""
        logs = self.logs
        sounding = [e for e in logs.of(FirstAudio) if e.arrives_s <= left_s + 1e-6]
        if not sounding:
            return ""
        first = sounding[-1]
        texts = [
            e for e in logs.of(Text) if (e.provider, e.context) == (first.provider, first.context)
        ]
        if not texts:
            return ""
        self.at["tts_text_s"] = texts[0].sent_s
        self.at["tts_first_audio_s"] = first.arrives_s
        self.tts = (texts[0].t_s, first.t_s)
        for event in logs.of(Connected):
            if event.role is Role.TTS and event.t_s <= texts[0].t_s:
                self.at["tts_open"] = event.arrives_s
        return texts[0].text

    def _find_answer(self, spoken: str, left_s: float) -> None:
        """Finds the request whose answer was spoken, by its text."""
        head = letters(spoken)[:24]
        requests = self.logs.of(Request)
        ends = {e.id: e for e in self.logs.of(Ended)}
        firsts = {e.id: e for e in self.logs.of(FirstToken)}
        # an agent may put words of its own before the LLM's: then the whole message tells
        messages = [words for words in self.logs.agent_messages() if words.startswith(head)]
        chosen = None
        for request in requests:
            text = letters(ends[request.id].text) if request.id in ends else ""
            first = firsts.get(request.id)
            if first is None or first.t_s > left_s or not head or not text:
                continue
            if text.startswith(head[: len(text)]) or any(holds(m, text) for m in messages):
                chosen = request
        if chosen is None:
            return
        first = firsts[chosen.id]
        self.served_model = chosen.model
        self.at["llm_request_s"] = chosen.t_s
        self.at["llm_first_token_s"] = first.arrives_s
        self.llm = (chosen.t_s, first.t_s)
        if any(r.t_s < chosen.t_s and r.id in ends and ends[r.id].tool_calls for r in requests):
            # the request that carried the tools' results left when they were done
            self.at["tools_done_s"] = chosen.sent_s


def _last(values: Iterable[float]) -> float:
    return max(values, default=NAN)
