"""From a call's logs to one row per caller turn.

Three independent logs are read: what the caller heard (audio), what the providers did, and what the
session said of itself. Milestones are moments in seconds from the start of the call; NaN if they
did not happen. The response latency comes from audio alone. Its *stages* are laid between
milestones in the order of the critical path; a stage that was over before its turn came (because
work overlapped) counts only for what remained visible, so the stages of a turn cannot count
anything twice. They must add up to the response latency: the difference is ``residual_s``, and it
is large when a milestone that was matched lies after the reply. One that is missing leaves its time
to the stage after it.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import operator
from collections.abc import Iterable
from typing import Any

from labkit.measure.harm import harms
from labkit.measure.turn_end import turn_ends
from labkit.tunnel.record import CallRecord, ReplySegment

NAN = float("nan")

STAGES: dict[str, tuple[str, str]] = {
    "uplink_s": (
        "network",
        "caller's last sound to the agent's ear: codec, path, jitter buffer, 50 ms frames",
    ),
    "vad_silence_s": ("setting", "silence the VAD wants before it calls speech ended"),
    "stt_network_s": ("network", "audio to the recogniser and its final transcript back"),
    "transcript_s": ("provider", "recogniser's final transcript"),
    "endpointing_s": (
        "setting",
        "endpointing delay and turn detector, until the turn is committed",
    ),
    "hook_s": ("user's code", "on_user_turn_completed"),
    "tools_s": ("user's code", "tool calls: the model asking for them and their running time"),
    "llm_network_s": (
        "network",
        "request to the language model and first token back, handshakes included",
    ),
    "llm_ttft_s": ("provider", "language model's first token"),
    "first_sentence_s": ("provider", "tokens until the first sentence is complete"),
    "tts_network_s": ("network", "text to the voice and first audio back, handshakes included"),
    "tts_ttfb_s": ("provider", "voice's first audio"),
    "playout_s": ("agent", "first audio waiting to be played"),
    "leading_silence_s": ("provider", "silence at the head of the synthesized audio"),
    "downlink_s": ("network", "agent to the caller's ear: codec, path, jitter buffer"),
}
"""The stages of a turn in order: owner and meaning. They sum to ``response_latency_s``."""

MILESTONES = (
    "caller_started_s",
    "caller_stopped_s",
    "heard_s",
    "vad_stopped_s",
    "eager_s",
    "transcript_s",
    "committed_s",
    "hook_done_s",
    "llm_request_s",
    "llm_first_token_s",
    "tts_text_s",
    "tts_first_audio_s",
    "agent_audio_left_s",
    "reply_heard_s",
    "reply_over_s",
)

SDK = {
    "e2e_latency": "sdk_e2e_latency_s",
    "transcription_delay": "sdk_transcription_delay_s",
    "end_of_turn_delay": "sdk_end_of_turn_delay_s",
    "on_user_turn_completed_delay": "sdk_on_user_turn_completed_delay_s",
    "llm_node_ttft": "sdk_llm_node_ttft_s",
    "llm_node_ttfs": "sdk_llm_node_ttfs_s",
    "tts_node_ttfb": "sdk_tts_node_ttfb_s",
    "playback_latency": "sdk_playback_latency_s",
}

_FRAME_S = 0.05
_LLMS = ("openai", "anthropic")


def turn_rows(record: CallRecord) -> list[dict[str, Any]]:
    """One row per caller turn that was spoken, in order."""
    ends, costs = turn_ends(record), harms(record)
    return [_Turn(record, i).row() | ends[i] | costs[i] for i in range(len(record.turns))]


def call_row(record: CallRecord) -> dict[str, Any]:
    """The call's own row."""
    return {
        "call": record.call,
        "seed": record.seed,
        "persona": record.persona,
        "voice": record.voice,
        "status": record.status,
        "error": record.error,
        "n_turns": len(record.turns),
        "simulated_s": record.simulated_s,
        "wall_s": record.wall_s,
        "spans": _spans(record),
    }


def _spans(record: CallRecord) -> str:
    """What a trace collector was sent, as JSON; empty if nothing was."""
    sent = [r["spans"] for r in record.providers if r["provider"] == "collector"]
    return json.dumps([span for batch in sent for span in batch]) if sent else ""


def _words(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _in(text: str, message: str) -> bool:
    """Whether a message, perhaps cut off, holds what the model said; both in bare letters."""
    return text[:24] in message or text.startswith(message[:24])


def _last(values: Iterable[float]) -> float:
    return max(values, default=NAN)


class _Turn:
    """One caller turn with everything that belongs to it."""

    def __init__(self, record: CallRecord, index: int) -> None:
        self.record, self.turn = record, record.turns[index]
        self.from_s = self.turn.started_s
        later = record.turns[index + 1 :]
        self.until_s = later[0].started_s if later else math.inf
        self.providers = self._within(record.providers)
        self.session = self._within(record.session)
        self.reply = self._reply()
        self.m = dict.fromkeys(MILESTONES, NAN)
        self.network: dict[str, tuple[float, float]] = {}
        self.served_model = ""

    def _within(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [r for r in rows if self.from_s <= r["t_s"] < self.until_s]

    def _reply(self) -> ReplySegment | None:
        """The first agent speech that began to sound after the caller began this turn."""
        for segment in self.record.segments:
            if segment.left_s >= self.from_s and segment.first_voiced_s > self.from_s:
                return segment if segment.first_voiced_s < self.until_s else None
        return None

    def row(self) -> dict[str, Any]:
        self._milestones()
        turn, reply = self.turn, self.reply
        latency = self.m["reply_heard_s"] - turn.stopped_s
        outcome = self._outcome(latency)
        stages = self._stages(latency) if outcome in ("answered", "interrupted") else {}
        return {
            "call": self.record.call,
            "turn": turn.index,
            "seed": self.record.seed,
            "persona": self.record.persona,
            "voice": self.record.voice,
            "dialogue": turn.dialogue,
            "turn_id": turn.turn_id,
            "intent": turn.intent,
            "kind": turn.kind,
            "variant": turn.variant,
            "heavy": turn.heavy,
            "clip_id": turn.clip_id,
            "barged_in": turn.barged_in,
            "outcome": outcome,
            "response_latency_s": latency,
            **{name: stages.get(name, NAN) for name in STAGES},
            "residual_s": latency - sum(stages.values()) if stages else NAN,
            **{f"at_{k}": v for k, v in self.m.items()},
            "at_released_s": turn.released_s,
            **self._sdk(),
            **self._costs(),
            "n_user_messages": sum(
                r["event"] == "item" and r["role"] == "user" for r in self.session
            ),
            "n_agent_messages": sum(
                r["event"] == "item" and r["role"] == "assistant" for r in self.session
            ),
            "said": turn.text,
            "heard": self._heard(),
            "replied": self._replied(),
            "reply_right": self._right(),
            "reply_interrupted": bool(reply and reply.interrupted),
            "reply_gap_s": self._gap(),
            **self._told(),
        }

    def _gap(self) -> float:
        """The longest silence between the agent's first and last sound of this turn; 0 if none."""
        if self.reply is None:
            return NAN
        own = [s for s in self.record.segments if self.reply.left_s <= s.left_s < self.until_s]
        spans = sorted(span for segment in own for span in segment.voiced)
        return max((b[0] - a[1] for a, b in itertools.pairwise(spans)), default=0.0)

    def _outcome(self, latency: float) -> str:
        if self.reply is None:
            failed = any(r["event"] == "error" and not r["recoverable"] for r in self.session)
            return "failed" if failed else "missed"
        if latency < 0:
            return "premature"
        return "interrupted" if self.reply.interrupted else "answered"

    # milestones

    def _milestones(self) -> None:
        m, turn, reply, record = self.m, self.turn, self.reply, self.record
        m["caller_started_s"], m["caller_stopped_s"] = turn.started_s, turn.stopped_s
        frames = math.ceil(round(turn.stopped_s / _FRAME_S, 6))
        m["heard_s"] = frames * _FRAME_S + record.line_delay_s
        if reply is None:
            return
        m["agent_audio_left_s"] = reply.left_s
        m["reply_heard_s"] = reply.first_voiced_s
        m["reply_over_s"] = reply.last_voiced_s
        left_s = reply.left_s
        self._turn_taking(left_s)
        text = self._voice(left_s)
        self._language_model(text, left_s)

    def _turn_taking(self, left_s: float) -> None:
        m = self.m
        commits = []
        for r in self.session:
            metrics = r.get("metrics", {})
            if r["event"] == "item" and r["role"] == "user" and "stopped_speaking_at" in metrics:
                at = metrics["stopped_speaking_at"] + metrics.get("end_of_turn_delay", 0.0)
                if at <= left_s:
                    commits.append((at, metrics.get("on_user_turn_completed_delay", 0.0)))
        if commits:
            m["committed_s"], hook_s = max(commits)
            m["hook_done_s"] = m["committed_s"] + hook_s
        said = [
            r["t_s"]
            for r in self.session
            if r["event"] == "speech" and r["source"] == "say" and r["t_s"] <= left_s + 1e-6
        ]
        if said:
            # what a hook says itself does not wait for the hook's end; and a turn that it takes
            # out of the SDK's hands (StopResponse) leaves no message: the commit is then known no
            # better than by the speech, so the hook's own time counts as waiting
            m["hook_done_s"] = max(said)
            m["committed_s"] = min(m["committed_s"], max(said)) if commits else max(said)
        decided_s = m["committed_s"] if commits or said else left_s
        m["vad_stopped_s"] = _last(
            r["t_s"]
            for r in self.session
            if r["event"] == "user_state" and r["state"] == "listening" and r["t_s"] <= decided_s
        )
        m["transcript_s"] = _last(
            r["t_s"]
            for r in self.session
            if r["event"] == "transcript" and r["t_s"] <= decided_s + 1e-6
        )

        m["eager_s"] = self._eager(decided_s)

    def _eager(self, decided_s: float) -> float:
        """When the recogniser's announcement of the turn's end came that it did not take back."""
        came_s = NAN
        for r in self.providers:
            at_s = r["t_s"] + self._one_way("deepgram")
            if r["provider"] == "deepgram" and at_s <= decided_s:
                if r["event"] in ("eager", "resumed"):
                    came_s = at_s if r["event"] == "eager" else NAN
        return came_s

    def _one_way(self, provider: str) -> float:
        return self.record.one_way_s.get(provider, 0.0)

    def _voice(self, left_s: float) -> str:
        """Fills in the voice's milestones; returns the text it spoke first, '' if unknown."""
        one_way = self._one_way("cartesia")
        sounding = [
            r
            for r in self.providers
            if r["provider"] == "cartesia"
            and r["event"] == "first_audio"
            and r["t_s"] + one_way <= left_s + 1e-6
        ]
        if not sounding:
            return ""
        first = sounding[-1]
        texts = [
            r
            for r in self.providers
            if r["provider"] == "cartesia"
            and r["event"] == "text"
            and r["context"] == first["context"]
        ]
        if not texts:
            return ""
        self.m["tts_text_s"] = texts[0]["t_s"] - one_way
        self.m["tts_first_audio_s"] = first["t_s"] + one_way
        self.network["tts"] = (texts[0]["t_s"], first["t_s"])
        self._connected("cartesia", texts[0]["t_s"], "tts_open")
        return str(texts[0]["text"])

    def _connected(self, provider: str, used_s: float, name: str) -> None:
        """When the socket that was used at ``used_s`` had opened, if that was in this turn."""
        one_way = self._one_way(provider)
        opened = [
            r["t_s"] + one_way
            for r in self.providers
            if r["provider"] == provider and r["event"] == "open" and r["t_s"] <= used_s
        ]
        if opened:
            self.m[name] = opened[-1]

    def _language_model(self, spoken: str, left_s: float) -> None:
        """Finds the request whose answer was spoken, by its text."""
        head = _words(spoken)[:24]
        ends = {
            r["id"]: r
            for r in self.providers
            if r["provider"] in _LLMS and "id" in r and r["event"] in ("done", "cancelled")
        }
        requests = [r for r in self.providers if r["event"] == "request"]
        firsts = {r["id"]: r for r in self.providers if r["event"] == "first_token"}
        # an agent may put words of its own before the model's: then the whole message tells
        messages = [words for words in self._messages() if words.startswith(head)]
        chosen = None
        for r in requests:
            text = _words(ends.get(r["id"], {}).get("text", ""))
            first = firsts.get(r["id"])
            if first is None or first["t_s"] > left_s or not head or not text:
                continue
            if text.startswith(head[: len(text)]) or any(_in(text, m) for m in messages):
                chosen = r
        if chosen is None:
            return
        one_way = self._one_way(chosen["provider"])
        first = firsts[chosen["id"]]
        self.served_model = str(chosen["model"])
        self.m["llm_request_s"] = chosen["t_s"]
        self.m["llm_first_token_s"] = first["t_s"] + one_way
        self.network["llm"] = (chosen["t_s"], first["t_s"])
        asked = [
            ends[r["id"]]["t_s"] + one_way
            for r in requests
            if r["t_s"] < chosen["t_s"] and ends.get(r["id"], {}).get("tool_calls")
        ]
        if asked:
            # the request that carried the tools' results left when they were done
            self.m["tools_done_s"] = chosen["t_s"] - one_way

    # stages

    def _path(self) -> list[tuple[str, float]]:
        """Milestones along the critical path, each with the stage that ends there."""
        m = self.m
        stt = self._one_way("deepgram")
        # a reply that was decided on in a pause did not wait for the rest of the turn to be heard
        heard_s = min(m["heard_s"], self._committed())
        llm_at, llm_sent = self.network.get("llm", (NAN, NAN))
        tts_at, tts_sent = self.network.get("tts", (NAN, NAN))
        path = [
            ("uplink_s", heard_s),
            ("vad_silence_s", min(m["vad_stopped_s"], self._committed())),
            ("stt_network_s", min(m["heard_s"] + stt, self._committed())),
            ("transcript_s", m["transcript_s"] - stt),
            ("stt_network_s", m["transcript_s"]),
            ("endpointing_s", m["committed_s"]),
            ("hook_s", m["hook_done_s"]),
            ("tools_s", m.get("tools_done_s", NAN)),
            ("llm_network_s", llm_at),
            ("llm_ttft_s", llm_sent),
            ("llm_network_s", m["llm_first_token_s"]),
            ("first_sentence_s", m["tts_text_s"]),
            ("tts_network_s", tts_at),
            ("tts_ttfb_s", tts_sent),
            ("tts_network_s", m["tts_first_audio_s"]),
            ("playout_s", m["agent_audio_left_s"]),
            ("leading_silence_s", m["reply_heard_s"] - self.record.line_delay_s),
            ("downlink_s", m["reply_heard_s"]),
        ]
        opened = m.get("tts_open", NAN)
        if opened == opened and abs(opened - m["tts_text_s"]) < 0.002:
            # the text left the moment the socket opened, so the socket was what it waited for
            path.insert(11, ("tts_network_s", opened))
        return path

    def _committed(self) -> float:
        at = self.m["committed_s"]
        return at if at == at else math.inf

    def _stages(self, latency: float) -> dict[str, float]:
        stages = dict.fromkeys(STAGES, 0.0)
        at = self.turn.stopped_s
        for name, ends in self._path():
            if ends == ends and ends > at:
                stages[name] += ends - at
                at = ends
        return stages

    # figures of the SDK, costs, words

    def _sdk(self) -> dict[str, float]:
        """The SDK's own figures, of the messages that led to this reply."""
        found: dict[str, float] = dict.fromkeys(SDK.values(), NAN)
        for r in self.session:
            if r["event"] == "item":
                for name, value in r["metrics"].items():
                    column = SDK.get(name)
                    if column and math.isnan(found[column]):
                        found[column] = value
        return found

    def _costs(self) -> dict[str, Any]:
        requests = [r for r in self.providers if r["event"] == "request"]
        ids = {r["id"] for r in requests}
        ends = [r for r in self.record.providers if r["event"] in ("done", "cancelled")]
        ends = [r for r in ends if r.get("id") in ids]
        used = self._used(requests, ends)
        texts = [r for r in self.providers if r["event"] == "text"]
        wasted = sum(
            r.get("completion_tokens", r.get("generated_tokens", 0))
            for r in ends
            if not r.get("tool_calls") and r["id"] not in used
        )
        return {
            "llm_calls": len(requests),
            "llm_cold": self._cold(requests),
            "tts_cold": any(
                r["provider"] == "cartesia" and r["event"] == "open" for r in self.providers
            ),
            "served_model": self.served_model,
            "llm_prompt_tokens": sum(r["prompt_tokens"] for r in requests),
            "llm_cached_tokens": sum(r["cached_tokens"] for r in requests),
            "llm_completion_tokens": sum(
                r.get("completion_tokens", r.get("generated_tokens", 0)) for r in ends
            ),
            "llm_wasted_tokens": wasted,
            "tts_requests": len({r["context"] for r in texts}),
            "tts_characters": sum(r["characters"] for r in texts),
            "tool_calls": sum(len(r["names"]) for r in self.session if r["event"] == "tools"),
            # one after another: from Python 3.12 on, sum() rounds floats differently
            "usd": functools.reduce(operator.add, (r.get("usd", 0.0) for r in self._paid()), 0.0)
            + self._listening_usd(),
        }

    def _paid(self) -> list[dict[str, Any]]:
        """What the providers did in this turn; the first one pays for what was before it."""
        if self.turn.index:
            return self.providers
        return [r for r in self.record.providers if r["t_s"] < self.until_s]

    def _messages(self) -> list[str]:
        """The agent's messages from this turn on, in bare letters.

        That of a reply that is talked over is added after the next turn has begun.
        """
        items = (r for r in self.record.session if r["event"] == "item")
        said = (r for r in items if r["role"] == "assistant" and r["t_s"] >= self.from_s)
        return [words for words in (_words(r["text"]) for r in said) if words]

    def _used(self, requests: list[dict[str, Any]], ends: list[dict[str, Any]]) -> set[str]:
        """The requests whose answers were said: for each message the last one with its words."""
        texts = {r["id"]: _words(r.get("text", "")) for r in ends}
        asked = [(r["id"], texts[r["id"]]) for r in requests if texts.get(r["id"])]
        used: set[str] = set()
        for words in self._messages():
            used |= set([i for i, text in asked if _in(text, words)][-1:])
        return used

    def _listening_usd(self) -> float:
        """The recogniser is paid by the minute that its socket is fed, speech or not."""
        begins_s = self.from_s if self.turn.index else 0.0
        minutes = (min(self.until_s, self.record.simulated_s) - begins_s) / 60
        prices = [r["usd_per_minute"] for r in self.record.providers if "usd_per_minute" in r]
        return max(minutes, 0.0) * prices[-1] if prices else 0.0

    @staticmethod
    def _cold(requests: list[dict[str, Any]]) -> bool:
        """Whether a request had to wait for a connection of its own to be set up."""
        return any(r["connection_requests"] == 1 for r in requests)

    def _heard(self) -> str:
        return " ".join(
            r["text"] for r in self.session if r["event"] == "item" and r["role"] == "user"
        )

    def _replied(self) -> str:
        return " ".join(
            r["text"] for r in self.session if r["event"] == "item" and r["role"] == "assistant"
        )

    def _right(self) -> float:
        """1 if the agent said the right answer, 0 if it said something else, NaN if nothing.

        Of a reply that was cut off only what was heard can be judged.
        """
        said, right = _words(self._replied()), _words(self.turn.right_reply)
        if not said:
            return NAN
        cut = any(r["event"] == "item" and r["interrupted"] for r in self.session)
        return float(right in said or (cut and right.startswith(said)))

    def _told(self) -> dict[str, Any]:
        """What the agent's own code logged of this turn; the last word on each name counts."""
        return {
            f"agent_{name}": value
            for r in self.session
            if r["event"] == "told"
            for name, value in r["data"].items()
        }
