"""A turn with known milestones, as the studies' arithmetic takes it."""

from __future__ import annotations


def one(arm: str, latency_s: float, **more: object) -> dict[str, object]:
    """A turn whose caller stopped at 10 s, with the transcript at 0.2 s and the commit at 0.5 s."""
    at = {
        "at_caller_stopped_s": 10.0,
        "at_eager_s": float("nan"),
        "at_transcript_s": 10.2,
        "at_committed_s": 10.5,
        "at_hook_done_s": 10.5,
        "at_llm_first_token_s": 10.7,
        "at_tts_text_s": 10.8,
        "at_agent_audio_left_s": 11.0,
        "at_reply_heard_s": 11.2,
    }
    row = {"arm": arm, "call": 0, "turn": 0, "outcome": "answered", "delay": 0.2}
    row |= {"served_model": "gpt-4o-mini", "n_user_messages": 1}
    return row | at | {"response_latency_s": latency_s, "sdk_end_of_turn_delay_s": 0.5} | more
