"""The response latency as a network of stages, each with an owner.

A reply waits for the later of two branches. The *commit* of the turn waits for the VAD's silence,
the final transcript, the turn detector's answer and the endpointing delay, which all begin with the
caller's last sound at the agent, and then for ``on_user_turn_completed``. The *reply* is prepared
from the transcript or the STT's eager end of turn on, by the LLM up to the first sentence and, with
preemptive TTS, by the TTS up to its first audio. Without preemption it begins at the commit.

Four figures say what a stage means to the latency; see :func:`stages`. A turn whose commit came
before its last sound had arrived (a false endpoint) did not wait for these things: it has none.
"""

from __future__ import annotations

import math

from labkit.measure.critical_path import Network
from labkit.measure.milestones import SAME_S, SOCKET_S, Milestones
from labkit.world.events import Refused, Request, Role

STAGES: dict[str, tuple[str, str]] = {
    "uplink_s": (
        "network",
        "caller's last sound to the agent's ear: codec, path, jitter buffer, 50 ms frames",
    ),
    "vad_silence_s": ("setting", "silence the VAD waits for before it ends speech"),
    "stt_network_s": ("network", "audio to the STT and its transcript back"),
    "eager_s": ("provider", "STT's eager end of turn"),
    "transcript_s": ("provider", "STT's final transcript"),
    "turn_detector_s": ("agent", "turn detector: 200 ms of silence, then its inference"),
    "endpointing_s": ("setting", "endpointing delay, from the last sound that the agent heard"),
    "hook_s": ("user's code", "on_user_turn_completed, and what llm_node does before it asks"),
    "tools_s": ("user's code", "running time of tool calls"),
    "llm_network_s": ("network", "request to the LLM and first token back, handshakes included"),
    "llm_ttft_s": ("provider", "LLM time to first token (TTFT)"),
    "first_sentence_s": ("provider", "tokens until the first sentence, or tool call, is complete"),
    "tts_network_s": ("network", "text to the TTS and first audio back, handshakes included"),
    "tts_ttfb_s": ("provider", "TTS time to first byte (TTFB)"),
    "playout_s": ("agent", "first audio waiting to be played"),
    "leading_silence_s": ("provider", "silence at the head of the synthesized audio"),
    "downlink_s": ("network", "agent to the caller's ear: codec, path, jitter buffer"),
}
"""The stages of a turn in order: owner and meaning. They sum to ``response_latency_s``."""

_NODE_S = 0.05
"""Less than this before a request may be due to its connection."""
_LOOKED_UP_S = 0.01
"""A request leaves this much after what it was begun on, if the name had to be looked up."""
COLUMNS = (
    "waited_for",
    "branch_slack_s",
    *STAGES,
    *(f"{kind}_{name}" for kind in ("length", "slack", "drag") for name in STAGES),
)
"""What :func:`stages` returns, in order."""


def stages(found: Milestones) -> dict[str, float | str]:
    """What became of the time of an answered turn, seconds.

    Returns:
        Nothing for a turn that was begun by a false endpoint. Else :data:`COLUMNS`:

        * ``<stage>``: its time on the path that was waited for; these sum to the latency.
        * ``length_<stage>``: how long it took, waited for or not; 0 if it did not happen.
        * ``slack_<stage>``: how much longer it could have taken without moving the latency, 0 on
          the path; of a stage in several places the smallest; NaN if it did not happen.
        * ``drag_<stage>``: how much sooner the reply would have been heard, had the stage taken no
          time and all else as long as it did. Drags of stages side by side do not add up.
        * ``waited_for``: the later branch, ``commit`` or ``reply``; ``both`` if the reply was
          begun at the commit, so that one follows the other.
        * ``branch_slack_s``: how much later the other branch could have been ready; NaN for
          ``both``.
    """
    if found.at["committed_s"] < found.at["heard_s"]:
        return {}
    network = _Turn(found)
    path = network.path()
    out: dict[str, float | str] = dict(zip(COLUMNS, network.branches(), strict=False))
    for name in STAGES:
        slack_s = network.slack_s(name)
        out[name] = sum((s.length_s for s in path if s.stage == name), 0.0)
        out[f"length_{name}"] = network.length_s(name)
        out[f"slack_{name}"] = slack_s
        out[f"drag_{name}"] = network.drag_s(name) if slack_s == 0 else 0.0
    return {name: out[name] for name in COLUMNS}


class _Turn(Network):
    """The network of one turn, from ``stopped``, the caller's last sound, to ``ear``."""

    def __init__(self, found: Milestones) -> None:
        super().__init__("stopped")
        self.found, self.at, self.stopped_s = found, found.at, found.logs.turn.stopped_s
        # whatever it heard, an STT is as far away in one turn as in another
        events = found.logs.record.providers
        self.stt_s = next((e.one_way_s for e in events if e.role is Role.STT), 0.0)
        self.apart = found.early
        self._commit()
        self._reply()

    def branches(self) -> tuple[str, float]:
        """The branch that was waited for, and the slack of the other."""
        if not self.found.early:
            return "both", math.nan
        pairs = zip(self.spans, self.slacks(), strict=True)
        slack_s = {(span.begins, span.ends): slack_s for span, slack_s in pairs}
        commit_s = slack_s["committed", "hook_done"]
        reply_s = next(s for (begins, _), s in slack_s.items() if begins == "asked")
        return ("commit", reply_s) if commit_s <= reply_s else ("reply", commit_s)

    def _chain(self, begins: str, *steps: tuple[str, str, float]) -> str:
        """Adds span after span: its stage, its end's name and moment; NaN leaves it out.

        Its time then goes to the next. Returns the name of the last moment.
        """
        for stage, ends, ends_s in steps:
            length_s = ends_s - self.stopped_s - self.reached[begins]
            if length_s == length_s:
                self.add(begins, ends, stage, max(length_s, 0.0))
                begins = ends
        return begins

    def _join(self, begins: str, ends: str) -> str:
        """Lets the reply wait for the commit there, if it has not yet."""
        if not self.apart:
            return begins
        self.apart = False
        self.add(begins, ends)
        self.add("hook_done", ends)
        return ends

    # -- the commit

    def _commit(self) -> None:
        at = self.at
        heard = self._chain("stopped", ("uplink_s", "heard", at["heard_s"]))
        ends = [self._stt("transcript_s", at["transcript_s"]), heard]
        if self.found.waits_for_vad:
            ends.append(self._chain(heard, ("vad_silence_s", "vad", at["vad_stopped_s"])))
        ends.append(self._chain(heard, ("turn_detector_s", "detector", at["detector_s"])))
        for end in dict.fromkeys(ends):
            self.add(end, "decided")
        self._delay()
        # on a real clock the commit follows a moment later: that is nobody's stage
        self.add("decided", "committed", "", self._rest("decided", at["committed_s"]))
        self.add("committed", "hook_done", "hook_s", self._rest("committed", at["hook_done_s"]))

    def _rest(self, begins: str, ends_s: float) -> float:
        """From one moment to another, seconds; 0 if that is unknown or came before."""
        length_s = ends_s - self.stopped_s - self.reached[begins]
        return length_s if length_s > 0 else 0.0

    def _delay(self) -> None:
        over_s = self.at["delay_over_s"] - self.stopped_s
        if over_s != over_s:
            return
        # without word times the SDK counts from the moment it learns of the end of the turn
        begins = "transcript" if self.found.delay_from_transcript else "heard"
        self.add(begins, "decided", "endpointing_s", over_s - self.reached[begins])

    def _stt(self, stage: str, ends_s: float) -> str:
        """Adds the way to the STT, its work and the way back."""
        name = stage.removesuffix("_s")
        rest_s = self._rest("heard", ends_s)
        if not rest_s:  # it did not wait for the last sound
            return self._chain("stopped", (stage, name, ends_s))
        way_s = min(self.stt_s, rest_s / 2)
        heard_s = self.at["heard_s"]
        return self._chain(
            "heard",
            ("stt_network_s", f"{name}_heard", heard_s + way_s),
            (stage, f"{name}_sent", ends_s - way_s),
            ("stt_network_s", name, ends_s),
        )

    # -- the reply

    def _reply(self) -> None:
        at, found = self.at, self.found
        end = self._node(self._begin() if found.early else "hook_done")
        for i, asked in enumerate(found.asked):
            end = self._chain(
                end,
                ("llm_network_s", f"at_llm_{i}", asked.at_llm_s),
                ("llm_ttft_s", f"token_left_{i}", asked.token_left_s),
                ("llm_network_s", f"token_{i}", asked.token_s),
            )
            last = asked is found.asked[-1]
            then_s = found.said_s if last else found.asked[i + 1].sent_s
            if then_s == then_s:
                called = self._chain(end, ("first_sentence_s", f"called_{i}", asked.ended_s))
                end = self._join(called, f"runs_{i}")
                end = self._chain(end, ("tools_s", f"done_{i}", then_s))
        end = self._text(end)
        end = self._chain(
            end,
            ("tts_network_s", "at_tts", found.tts[0]),
            ("tts_ttfb_s", "audio_left", found.tts[1]),
            ("tts_network_s", "audio", at["tts_first_audio_s"]),
        )
        line_s, left_s = found.logs.record.down_delay_s, at["agent_audio_left_s"]
        starved_s = found.logs.reply.starved_s if found.logs.reply else 0.0
        self._chain(
            self._join(end, "out"),
            ("playout_s", "left", left_s),
            # the first packets may hold nothing but silence, and the next be a round trip behind
            ("tts_network_s", "supplied", left_s + starved_s),
            ("leading_silence_s", "voiced", at["reply_heard_s"] - line_s),
            ("downlink_s", "ear", at["reply_heard_s"]),
        )

    def _node(self, end: str) -> str:
        """What the agent's own llm_node did before it asked the model, if it took a while."""
        begun_s, events = self.found.begun_s, self.found.logs.of(Request, Refused)
        from_s = self.stopped_s + self.reached[end]
        others = any(from_s < e.sent_s < begun_s - SAME_S for e in events if e.role is Role.LLM)
        if begun_s - from_s < _NODE_S or others:  # others: it asked more than once
            return end
        return self._chain(end, ("hook_s", "node", begun_s))

    def _begin(self) -> str:
        """What set the LLM to work before the commit: a transcript or an eager end of turn."""
        at, by_s = self.at, self.found.begun_s + _LOOKED_UP_S
        if at["transcript_s"] <= by_s:
            end = "transcript"
        elif at["eager_s"] <= by_s:
            end = self._stt("eager_s", at["eager_s"])
        else:  # on an earlier transcript
            end = self._chain("stopped", ("transcript_s", "earlier", self.found.begun_s))
        self.add(end, "asked")
        return "asked"

    def _text(self, end: str) -> str:
        """The first sentence on its way out: complete, the turn committed, the socket open."""
        at, text_s, opened_s = self.at, self.at["tts_text_s"], self.at.get("tts_open", math.nan)
        if text_s != text_s:
            return end
        ready = self._chain(end, ("first_sentence_s", "sentence", at["sentence_s"]))
        if abs(opened_s - text_s) < SOCKET_S:
            # the text left the moment the socket opened, so the socket was what it waited for
            begun = end if self.found.speaks_early else self._join(end, "speaks")
            opened = self._chain(begun, ("tts_network_s", "opened", opened_s))
            self.add(ready, "text")
            self.add(opened, "text")
            return "text"
        if not self.found.speaks_early:
            ready = self._join(ready, "speaks")
        rest_s = self._rest(ready, text_s)
        self.add(ready, "text", "first_sentence_s" if rest_s > SAME_S else "", rest_s)
        return "text"
