"""Whole calls with the further speech providers: each is answered, and its stages add up."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PAIRS = [
    ("assemblyai", "elevenlabs"),
    ("openai", "openai"),
    ("cartesia", "deepgram"),
    ("elevenlabs", "elevenlabs"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("stt", "tts"), PAIRS)
def test_a_call_is_answered_with_every_choice_of_speech(stt: str, tts: str) -> None:
    for package in {stt, tts} & {"assemblyai", "elevenlabs"}:
        pytest.importorskip(f"livekit.plugins.{package}")
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "run", "vanilla", "--calls", "1", "--turns", "2", "--json",
         "--set", f"stt.provider={stt}", "--set", f"tts.provider={tts}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    assert (answer["n_turns"], answer["answered_rate"]) == (2, 1.0)
