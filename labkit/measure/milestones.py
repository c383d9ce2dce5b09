"""The moments of a turn, found in what the caller heard, the providers did and the session said.

Providers are told apart by role: the STT, the LLM whose answer was spoken, the TTS that spoke it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from labkit.measure.fillers import answer_heard_s, tool_callers
from labkit.measure.turn_logs import NAN, TurnLogs, holds, letters
from labkit.world.events import (
    Cancelled,
    Connected,
    EagerEndOfTurn,
    Ended,
    FirstAudio,
    FirstToken,
    Request,
    Role,
    Scored,
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
    "detector_s": "the turn detector answered",
    "delay_over_s": "the endpointing delay was over, where it is known",
    "committed_s": "the session committed the turn",
    "hook_done_s": "on_user_turn_completed returned",
    "llm_request_s": "the request reached the LLM",
    "llm_first_token_s": "the LLM's first token reached the agent",
    "sentence_s": "the first sentence to be spoken was complete",
    "tts_text_s": "the first text left for the TTS",
    "tts_first_audio_s": "the TTS's first audio reached the agent",
    "agent_audio_left_s": "the agent began to play its reply",
    "reply_heard_s": "the reply's first sound reached the caller's ear",
    "reply_over_s": "the reply's last sound reached the caller's ear",
}
"""The milestones of a turn in order; columns with the prefix ``at_``."""

_FRAME_S = 0.05
SAME_S = 1e-4
"""Moments this close to each other are one: the clock ticks finer, and links have jitter."""
_EXPLAINED_S = 0.005
"""A commit that follows this soon upon a thing it may have waited for did wait for it."""
_ENDS = ".!?…"
SOCKET_S = 0.002
"""Text that left this soon after the socket opened had waited for it."""


class Asked(NamedTuple):
    """A request to the LLM: when it left the agent, reached the LLM, got its first token there
    and at the agent, and was answered in full at the agent; seconds, NaN where unknown."""

    id: str
    sent_s: float
    at_llm_s: float
    token_left_s: float
    token_s: float
    ended_s: float


class Milestones:
    """The milestones of one turn.

    Attributes:
        at: Each of :data:`MILESTONES`, seconds from the start of the call; NaN where it did not
            happen. Only where it did: ``tts_open``, the TTS socket opened in this turn, and
            ``tools_done_s``, the request with the tools' results left the agent.
        rules: By which the session ended the turn (:func:`labkit.tunnel.sdk.turn_rules`); empty
            if unknown.
        asked: The requests that led to the reply: those that called tools, then the answer's.
        delay_from_transcript: Whether the SDK counted the endpointing delay from the transcript.
        early: Whether they began before the turn was committed (preemptive generation).
        begun_s: When the first of them was begun, as far as is known, seconds.
        n_commits: How often the session committed a turn before the reply.
        tts: When the TTS got the text and let the first audio go, at its own end, seconds.
        served_model: The model whose answer was spoken, '' if unknown.
        said_s: When code of the agent that is no hook began a filler before the reply sounded.
        answer_heard_s: When the caller heard the first sound of the model's answer: later than
            the reply's first sound if that was a filler.
    """

    def __init__(self, logs: TurnLogs) -> None:
        self.logs = logs
        self.at = dict.fromkeys(MILESTONES, NAN)
        self.tts = (NAN, NAN)
        self.rules: Mapping[str, Any] = {}
        self.asked: list[Asked] = []
        self.early = self.delay_from_transcript = False
        self.begun_s = NAN
        self.n_commits = 0
        self.served_model = self._utterance = ""
        self.said_s = self.answer_heard_s = NAN
        turn, reply = logs.turn, logs.reply
        self.at["caller_started_s"], self.at["caller_stopped_s"] = turn.started_s, turn.stopped_s
        frames = math.ceil(round(turn.stopped_s / _FRAME_S, 6))
        self.at["heard_s"] = frames * _FRAME_S + logs.record.up_delay_s
        if reply is None:
            return
        self.at["agent_audio_left_s"] = reply.left_s
        self.at["reply_heard_s"] = reply.first_voiced_s
        self.at["reply_over_s"] = reply.last_voiced_s
        self._find_turn_end(reply.left_s)
        spoken = self._find_speech(reply.left_s)
        self._find_answer(spoken, reply.left_s)
        self.answer_heard_s = answer_heard_s(logs, reply, spoken)
        if not self.served_model:  # the reply began with words that no model wrote
            self._find_calls()

    @property
    def waits_for_vad(self) -> bool:
        """Whether the VAD's end of speech was one of the things that the commit waited for."""
        return self.rules.get("ended_by") not in ("stt", "manual")

    @property
    def speaks_early(self) -> bool:
        """Whether the TTS may begin before the turn is committed."""
        return self.early and bool(self.rules.get("preemptive_tts"))

    def _find_turn_end(self, left_s: float) -> None:
        at, logs = self.at, self.logs
        commits = []
        for r in logs.messages("user"):
            metrics = r["metrics"]
            hook_s = metrics.get("on_user_turn_completed_delay", 0.0)
            stopped_s = metrics.get("stopped_speaking_at", NAN)
            commit_s = stopped_s + metrics.get("end_of_turn_delay", 0.0)
            if commit_s != commit_s:  # the message is added as the hook returns
                commit_s = r["t_s"] - hook_s
            if commit_s <= left_s + 1e-6:
                commits.append((commit_s, hook_s, stopped_s))
        stopped_s = NAN
        self.n_commits = len(commits)
        if commits:
            at["committed_s"], hook_s, stopped_s = max(commits)
            at["hook_done_s"] = at["committed_s"] + hook_s
        said = [
            r["t_s"]
            for r in logs.session_of("speech")
            if r["source"] == "say" and r["t_s"] <= left_s + 1e-6
        ]
        if commits:  # what is said when the hook has returned is a filler of a tool or a task
            self.said_s = _last(t_s for t_s in said if t_s > at["hook_done_s"] + SAME_S)
            said = [t_s for t_s in said if t_s <= at["hook_done_s"] + SAME_S]
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
            if r["state"] == "listening" and r["t_s"] <= decided_s + 1e-6
        )
        heard = [r for r in logs.session_of("transcript") if r["t_s"] <= decided_s + 1e-6]
        at["transcript_s"] = _last(r["t_s"] for r in heard)
        self.rules = heard[-1].get("rules", {}) if heard else {}
        for event in logs.of(EagerEndOfTurn, TurnResumed):
            if event.arrives_s <= decided_s:
                eager = isinstance(event, EagerEndOfTurn)
                at["eager_s"] = event.arrives_s if eager else NAN
        if self.rules.get("ended_by") == "detector":
            answers = [r.get("answered_s", NAN) for r in logs.session_of("eot")]
            answers += [e.arrives_s + e.took_s for e in logs.of(Scored)]  # a hosted one's
            at["detector_s"] = _last(t for t in answers if at["heard_s"] <= t <= decided_s + 1e-6)
        if commits:
            self._find_delay(stopped_s)
        if commits or said:
            self._book_the_rest()

    def _find_delay(self, stopped_s: float) -> None:
        """Finds the end of the endpointing delay, which the SDK counts from ``stopped_s``."""
        at, committed_s = self.at, self.at["committed_s"]
        self.delay_from_transcript = abs(stopped_s - at["transcript_s"]) < SAME_S
        delays = (stopped_s + d for d in self.rules.get("delays_s", ()))
        # both delays may have been over: the shorter slack is the safe one
        at["delay_over_s"] = _last(t for t in delays if t <= committed_s + SAME_S)

    def _book_the_rest(self) -> None:
        """A commit that nothing else explains waited for a delay."""
        at, vad = self.at, ["vad_stopped_s"] * self.waits_for_vad
        names = ["transcript_s", "detector_s", "delay_over_s", *vad]
        if not any(at["committed_s"] - at[name] < _EXPLAINED_S for name in names):
            at["delay_over_s"] = at["committed_s"]

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
        self._utterance = "".join(e.text for e in texts)
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
        chosen = around = None
        whole = letters(self._utterance)
        for request in requests:
            text = letters(ends[request.id].text) if request.id in ends else ""
            first = firsts.get(request.id)
            if first is None or first.t_s > left_s or not head or not text:
                continue
            # what left for the TTS before the model's first token was a filler of the agent's own
            waited = not first.arrives_s > self.at["tts_text_s"] + SAME_S
            if text.startswith(head[: len(text)]) or (
                waited and any(holds(m, text) for m in messages)
            ):
                chosen = request
            elif waited and text in whole:
                around = request
        chosen = chosen or around
        if chosen is None:
            return
        self.served_model = chosen.model
        self.at["llm_request_s"] = chosen.t_s
        self.at["llm_first_token_s"] = firsts[chosen.id].arrives_s
        calls = [
            r for r in requests if r.t_s < chosen.t_s and r.id in ends and ends[r.id].tool_calls
        ]
        self.asked = [_asked(r, firsts.get(r.id), ends.get(r.id)) for r in (*calls, chosen)]
        if calls:
            # the request that carried the tools' results left when they were done
            self.at["tools_done_s"] = chosen.sent_s
        self.early = self._is_early((calls or [chosen])[0])
        self._find_sentence(firsts[chosen.id], ends[chosen.id], spoken)

    def _find_calls(self) -> None:
        """Of a filler that a tool says: the requests that called the tool led to it."""
        calls = tool_callers(self.logs, self.said_s)
        if not calls:
            self.said_s = NAN
            return
        firsts = {e.id: e for e in self.logs.of(FirstToken)}
        ends = {e.id: e for e in self.logs.of(Ended)}
        self.served_model = calls[0].model
        self.at["llm_request_s"] = calls[0].t_s
        self.at["llm_first_token_s"] = firsts[calls[0].id].arrives_s
        self.asked = [_asked(r, firsts[r.id], ends[r.id]) for r in calls]
        self.early = self._is_early(calls[0])

    def _is_early(self, request: Request) -> bool:
        at, done_s = self.at, self.at["hook_done_s"]
        self.begun_s = request.sent_s
        exact = (
            abs(request.sent_s - at[name]) < SAME_S for name in ("transcript_s", "hook_done_s")
        )
        if request.connection_requests == 1 and not any(exact):
            self.begun_s -= 4 * request.one_way_s  # two round trips opened the connection: TCP, TLS
        if done_s - at["transcript_s"] > SAME_S or self.begun_s < done_s - SAME_S:
            return self.begun_s < done_s - SAME_S
        # a commit that waited for the transcript alone follows the early request at once; there is
        # none while an earlier commit is answered, and one may be thrown away for another
        voided = {e.id for e in self.logs.of(Cancelled)}
        again = (r.id in voided and r.sent_s > at["transcript_s"] - SAME_S
                 for r in self.logs.of(Request))  # fmt: skip
        may = self.rules.get("preemptive") and self.rules["ended_by"] in ("vad", "detector")
        return bool(may) and self.n_commits == 1 and not any(again)

    def _find_sentence(self, first: FirstToken, end: Ended, spoken: str) -> None:
        """Finds when the first sentence was complete: seen if it was waited for, else computed.

        A sentence is known to be complete when the next one has begun.
        """
        at, text_s = self.at, self.at["tts_text_s"]
        waited = text_s - at.get("tts_open", NAN) < SOCKET_S
        if not waited and (
            self.speaks_early or not self.early or text_s > at["hook_done_s"] + SAME_S
        ):
            at["sentence_s"] = text_s
            return
        words = spoken.strip()
        n = end.text.find(words) + len(words)
        if words.endswith(tuple(_ENDS)):
            n += len(end.text[n:]) - len(end.text[n:].lstrip()) + 1
        n = min(n, max((n for _, n in first.pace), default=0))
        left_s = (first.t_s + after_s for after_s, sent in first.pace if sent >= n)
        ready_s = next(left_s, end.t_s) + first.one_way_s
        at["sentence_s"] = min(ready_s, text_s)


def _asked(request: Request, first: FirstToken | None, end: Ended | None) -> Asked:
    left_s, token_s = (first.t_s, first.arrives_s) if first else (NAN, NAN)
    ended_s = end.arrives_s if end else NAN
    return Asked(request.id, request.sent_s, request.t_s, left_s, token_s, ended_s)


def _last(values: Iterable[float]) -> float:
    return max(values, default=NAN)
