"""Runs one call in which the caller pauses for exactly as long as told; prints its turn as JSON.

Run as a script, because a call takes over its process. Arguments: the pause in seconds, then
settings as ``name=value``.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np

from labkit.measure.timeline import turn_rows
from labkit.settings import Settings, parse_assignments
from labkit.tunnel import worker
from labkit.world.clips import CALLER_RATE_HZ, Clip, Word
from labkit.world.speech import SpeechCorpus

CLIP = {"dialogue": "order_status", "turn": "keep_the_desk", "voice": "kumo"}
BEFORE = "and"
"""The pause is put before the first such word."""


def paused(clip: Clip, pause_s: float) -> Clip:
    """The clip with digital silence in front of one of its words."""
    at = next(i for i, w in enumerate(clip.words) if w.text == BEFORE)
    cut_s = (clip.words[at - 1].end_s + clip.words[at].start_s) / 2
    cut = round(cut_s * CALLER_RATE_HZ)
    silence = np.zeros(round(pause_s * CALLER_RATE_HZ), np.int16)
    later = [Word(w.text, w.start_s + pause_s, w.end_s + pause_s) for w in clip.words[at:]]
    return replace(
        clip,
        clip_id="scripted",
        words=clip.words[:at] + tuple(later),
        speech_end_s=clip.speech_end_s + pause_s,
        pauses=((cut_s, cut_s + pause_s),),
        pcm=np.concatenate([clip.pcm[:cut], silence, clip.pcm[cut:]]),
    )


class ScriptedCorpus:
    """The packaged corpus, but every turn is said by one clip."""

    def __init__(self, corpus: SpeechCorpus, clip: Clip) -> None:
        self._corpus, self._clip = corpus, clip

    def clip(self, **_: Any) -> Clip:
        return self._clip

    def __getattr__(self, name: str) -> Any:
        return getattr(self._corpus, name)


def main(pause_s: float, changes: dict[str, str]) -> dict[str, Any]:
    worker.start()
    process = worker._worker
    assert process is not None
    clip = paused(process.supplies.corpus.clip(**CLIP), pause_s)
    process.supplies.corpus = ScriptedCorpus(process.supplies.corpus, clip)  # type: ignore[assignment]
    settings = Settings(
        {"caller.persona": "fluent", "caller.dialogue": CLIP["dialogue"], **changes}
    ).as_dict()
    record = worker.run_call(worker.CallSpec("vanilla", settings, n_turns=1))
    assert record.status == "ok", record.error
    return turn_rows(record)[0]


if __name__ == "__main__":
    print(json.dumps(main(float(sys.argv[1]), parse_assignments(sys.argv[2:])), default=float))
