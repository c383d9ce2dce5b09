"""The response latency split into stages, each with an owner.

Stages lie between milestones in the order of the critical path. Of work that overlapped only the
visible remainder counts, so nothing is counted twice. Stages must add up to the response latency:
the difference is ``residual_s``, and it is large when a milestone was matched after the reply. The
time of a missing milestone goes to the next stage.
"""

from __future__ import annotations

import math

from labkit.measure.milestones import Milestones
from labkit.world.events import Role

STAGES: dict[str, tuple[str, str]] = {
    "uplink_s": (
        "network",
        "caller's last sound to the agent's ear: codec, path, jitter buffer, 50 ms frames",
    ),
    "vad_silence_s": ("setting", "silence the VAD waits for before it ends speech"),
    "stt_network_s": ("network", "audio to the STT and its final transcript back"),
    "transcript_s": ("provider", "STT's final transcript"),
    "endpointing_s": (
        "setting",
        "endpointing delay and turn detector, until the turn is committed",
    ),
    "hook_s": ("user's code", "on_user_turn_completed"),
    "tools_s": ("user's code", "tool calls: the LLM asking for them and their running time"),
    "llm_network_s": ("network", "request to the LLM and first token back, handshakes included"),
    "llm_ttft_s": ("provider", "LLM time to first token (TTFT)"),
    "first_sentence_s": ("provider", "tokens until the first sentence is complete"),
    "tts_network_s": ("network", "text to the TTS and first audio back, handshakes included"),
    "tts_ttfb_s": ("provider", "TTS time to first byte (TTFB)"),
    "playout_s": ("agent", "first audio waiting to be played"),
    "leading_silence_s": ("provider", "silence at the head of the synthesized audio"),
    "downlink_s": ("network", "agent to the caller's ear: codec, path, jitter buffer"),
}
"""The stages of a turn in order: owner and meaning. They sum to ``response_latency_s``."""


def stages(found: Milestones) -> dict[str, float]:
    """The visible length of every stage of an answered turn, seconds."""
    lengths = dict.fromkeys(STAGES, 0.0)
    at_s = found.logs.turn.stopped_s
    for name, ends_s in _path(found):
        if ends_s == ends_s and ends_s > at_s:
            lengths[name] += ends_s - at_s
            at_s = ends_s
    return lengths


def _path(found: Milestones) -> list[tuple[str, float]]:
    """Milestones along the critical path, each with the stage that ends there."""
    at, record = found.at, found.logs.record
    # whatever it heard, an STT is as far away in one turn as in another
    stt_s = next((e.one_way_s for e in record.providers if e.role is Role.STT), 0.0)
    committed_s = at["committed_s"] if at["committed_s"] == at["committed_s"] else math.inf
    path = [
        # a reply that was decided on in a pause did not wait for the rest of the turn to be heard
        ("uplink_s", min(at["heard_s"], committed_s)),
        ("vad_silence_s", min(at["vad_stopped_s"], committed_s)),
        ("stt_network_s", min(at["heard_s"] + stt_s, committed_s)),
        ("transcript_s", at["transcript_s"] - stt_s),
        ("stt_network_s", at["transcript_s"]),
        ("endpointing_s", at["committed_s"]),
        ("hook_s", at["hook_done_s"]),
        ("tools_s", at.get("tools_done_s", math.nan)),
        ("llm_network_s", found.llm[0]),
        ("llm_ttft_s", found.llm[1]),
        ("llm_network_s", at["llm_first_token_s"]),
        ("first_sentence_s", at["tts_text_s"]),
        ("tts_network_s", found.tts[0]),
        ("tts_ttfb_s", found.tts[1]),
        ("tts_network_s", at["tts_first_audio_s"]),
        ("playout_s", at["agent_audio_left_s"]),
        ("leading_silence_s", at["reply_heard_s"] - record.line_delay_s),
        ("downlink_s", at["reply_heard_s"]),
    ]
    opened_s = at.get("tts_open", math.nan)
    if abs(opened_s - at["tts_text_s"]) < 0.002:
        # the text left the moment the socket opened, so the socket was what it waited for
        path.insert(11, ("tts_network_s", opened_s))
    return path
