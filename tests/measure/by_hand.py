"""Calls written by hand: all that a record needs, so that a test says only what it is about.

Times are seconds from the start of the call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from labkit.measure.timeline import turn_rows
from labkit.tunnel.record import Backchannel, CallerTurn, CallRecord, ReplySegment
from labkit.world.events import (
    Completed,
    Connected,
    Event,
    FirstAudio,
    FirstToken,
    Request,
    Role,
    Text,
)

NAN = float("nan")
MS = 0.001
LINE = 0.1
"""From a mouth to the other end's ear, unless a test says otherwise."""


def turn(
    index: int = 0,
    text: str = "I want to go to Boston.",
    started_s: float = 1.0,
    stopped_s: float = 4.0,
    **more: Any,
) -> CallerTurn:
    """What the caller says; four seconds into the call by default."""
    return CallerTurn(
        **{
            "index": index, "dialogue": "d", "turn_id": "t", "intent": "i", "kind": "question",
            "heavy": False, "variant": "fluent", "text": text, "right_reply": "Right.",
            "clip_id": "c", "started_s": started_s, "stopped_s": stopped_s, "over_s": NAN, **more,
        }
    )  # fmt: skip


def item(role: str, text: str, t_s: float, interrupted: bool = False, **metrics: float) -> dict:
    """A message that the session added, with the SDK's own figures of it."""
    return {
        "event": "item", "role": role, "text": text, "t_s": t_s, "interrupted": interrupted,
        "metrics": metrics,
    }  # fmt: skip


def message(text: str, t_s: float, stopped_s: float = NAN, delay_s: float = NAN) -> dict:
    """A user message; decided on ``delay_s`` after ``stopped_s``, if that is given."""
    if stopped_s != stopped_s:
        return item("user", text, t_s)
    return item("user", text, t_s, stopped_speaking_at=stopped_s, end_of_turn_delay=delay_s)


def state(name: str, t_s: float) -> dict:
    """The session takes the caller for ``speaking`` or ``listening``."""
    return {"event": "user_state", "state": name, "t_s": t_s}


def asked(t_s: float, probability: float) -> dict:
    """The turn detector is asked whether the turn is over."""
    return {"event": "eot", "t_s": t_s, "probability": probability}


def reply(first_s: float, last_s: float, left_s: float | None = None, **more: Any) -> ReplySegment:
    """Agent speech as the caller hears it; silent for its first 0.2 s unless told otherwise."""
    left_s = first_s - LINE - 0.2 if left_s is None else left_s
    return ReplySegment(left_s, first_s, last_s, **{"interrupted": False, **more})


def call(
    turns: Iterable[CallerTurn] = (),
    segments: Iterable[ReplySegment] = (),
    session: Iterable[dict] = (),
    providers: Iterable[Event] = (),
    backchannels: Iterable[Backchannel] = (),
    **more: Any,
) -> CallRecord:
    """A call of a minute."""
    return CallRecord(
        **{
            "call": 0, "seed": 7, "persona": "p", "voice": "v", "turns": list(turns),
            "segments": list(segments), "providers": list(providers), "session": list(session),
            "up_delay_s": LINE, "down_delay_s": LINE, "simulated_s": 60.0, "wall_s": 0.1,
            "backchannels": list(backchannels), **more,
        }
    )  # fmt: skip


def row(record: CallRecord, index: int = 0) -> dict[str, Any]:
    """What the turns table says of one turn."""
    return turn_rows(record)[index]


@dataclass(frozen=True, kw_only=True)
class Script:
    """An answered turn, told by how long each part of it takes; no two figures are alike.

    The VAD, the STT, the turn detector and the endpointing delay begin with the last sound that the
    agent hears; the commit waits for all of them. The reply begins at the commit's end or, if
    ``early``, with the transcript; then it waits for the commit before the text leaves for the TTS,
    before the audio is played (``tts_early``), or before the tools run. The three providers are as
    far away as the one-way delays say.
    """

    stopped_s: float = 2.0  # the caller's last sound, with which a frame of 50 ms ends
    up_s: float = 0.083  # from the caller
    down_s: float = 0.097  # to the caller
    stt_s: float = 0.037  # one way, to the STT
    llm_s: float = 0.019
    tts_s: float = 0.053
    vad: float = 0.011
    transcript: float = 0.127
    detector: float = 0.383
    endpointing: float = 0.412
    hook: float = 0.029
    call_ttft: float = 0.141  # of the request that calls the tool
    call_tokens: float = 0.059
    tools: float = 0.069
    ttft: float = 0.401
    sentence: float = 0.067
    ttfb: float = 0.149
    playout: float = 0.005
    silence: float = 0.173
    early: bool = False
    tts_early: bool = False
    uses_tool: bool = True

    @property
    def at(self) -> dict[str, float]:
        """When each thing happens, at the agent, seconds."""
        heard = self.stopped_s + self.up_s
        ends = {
            "vad": heard + self.vad,
            "transcript": heard + self.transcript + 2 * self.stt_s,
            "detector": heard + self.detector,
            "delay_over": heard + self.endpointing,
        }
        committed = max(ends.values())
        done = committed + self.hook
        asked = ends["transcript"] if self.early else done
        more = {}
        if self.uses_tool:
            called = asked + 2 * self.llm_s + self.call_ttft + self.call_tokens
            more = {"called_from": asked, "runs": max(called, done)}
            asked = more["runs"] + self.tools
        token = asked + 2 * self.llm_s + self.ttft
        sentence = token + self.sentence
        text = sentence if self.tts_early else max(sentence, done)
        audio = text + 2 * self.tts_s + self.ttfb
        left = max(audio, done) + self.playout
        first = left + self.silence + self.down_s
        return {"heard": heard, **ends, "committed": committed, "done": done, **more,
                "asked": asked, "token": token, "sentence": sentence, "text": text,
                "audio": audio, "left": left, "first": first}  # fmt: skip

    @property
    def latency_s(self) -> float:
        """The response latency that follows."""
        return self.at["first"] - self.stopped_s

    def record(self) -> CallRecord:
        """The call: one turn, one reply, everything warm."""
        at = self.at
        said = turn(text="Where is it?", right_reply="It is here.", stopped_s=self.stopped_s)
        spoken = ReplySegment(at["left"], at["first"], at["first"] + 1.0, False)
        return call(
            [said], [spoken], self._session(at), self._providers(at),
            up_delay_s=self.up_s, down_delay_s=self.down_s,
        )  # fmt: skip

    def _providers(self, at: dict[str, float]) -> list[Event]:
        llm = {"role": Role.LLM, "one_way_s": self.llm_s}
        tts = {"role": Role.TTS, "one_way_s": self.tts_s}
        request = {"model": "m", "prompt_tokens": 50, "cached_tokens": 0, "connection_requests": 2}
        events: list[Event] = [Connected(t_s=0.1, role=Role.STT, one_way_s=self.stt_s)]
        if self.uses_tool:
            at_s = at["called_from"] + self.llm_s
            token_s = at_s + self.call_ttft
            wanted = ({"name": "look_up", "arguments": "{}"},)
            events += [
                Request(t_s=at_s, id="tool", **request, **llm),
                FirstToken(t_s=token_s, id="tool", **llm),
                Completed(t_s=token_s + self.call_tokens, id="tool", output_tokens=9,
                          tool_calls=wanted, **llm),
            ]  # fmt: skip
        pace = ((0.0, 2), (self.sentence / 2, 7), (self.sentence, 11))
        return [
            *events,
            Request(t_s=at["asked"] + self.llm_s, id="a", **request, **llm),
            FirstToken(t_s=at["token"] - self.llm_s, id="a", pace=pace, **llm),
            Completed(t_s=at["sentence"], id="a", output_tokens=5, text="It is here.", **llm),
            Text(t_s=at["text"] + self.tts_s, context="x", text="It is here. ", characters=12,
                 **tts),
            FirstAudio(t_s=at["audio"] - self.tts_s, context="x", **tts),
        ]  # fmt: skip

    def _session(self, at: dict[str, float]) -> list[dict]:
        rules = {
            "ended_by": "detector", "delays_s": [self.endpointing, 30.0],
            "preemptive": self.early, "preemptive_tts": self.tts_early,
        }  # fmt: skip
        heard_s, committed_s = at["heard"], at["committed"]
        return [
            state("listening", at["vad"]),
            {"event": "transcript", "text": "Where is it?", "t_s": at["transcript"],
             "rules": rules},
            asked(heard_s, 0.9) | {"answered_s": at["detector"]},
            item(
                "user", "Where is it?", at["done"], stopped_speaking_at=heard_s,
                end_of_turn_delay=committed_s - heard_s, on_user_turn_completed_delay=self.hook,
            ),
            item("assistant", "It is here.", at["first"] + 1.0),
        ]  # fmt: skip
