"""A TTS that no part of labkit has heard of: one module, one profile, one line of registration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.tunnel.worker import ENVIRONMENT

FOLDER = Path(__file__).with_name("further")


@pytest.mark.slow
def test_a_further_tts_is_measured_like_any_other() -> None:
    key = {"FURTHER_API_KEY": "tunnel-further-key"}
    done = subprocess.run(
        [sys.executable, FOLDER / "call.py", "providers.further.models.further-1.first_audio=0.3"],
        env={**os.environ, **ENVIRONMENT, **key}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    turns = json.loads(done.stdout.splitlines()[-1])
    assert [t["outcome"] for t in turns] == ["answered"] * 3
    for turn in turns:
        assert turn["tts_ttfb_s"] == pytest.approx(0.3, abs=1e-6)
        assert turn["tts_network_s"] == pytest.approx(0.04, abs=1e-3)  # one round trip
        assert turn["leading_silence_s"] == pytest.approx(0.1, abs=1e-3)
        assert abs(turn["residual_s"]) < 0.005
        # every character of the reply was charged for, and perhaps of one that was thrown away
        assert turn["tts_characters"] >= len(turn["replied"].replace(" ", ""))
        assert 1 <= turn["tts_requests"] <= 4


def test_a_provider_s_module_is_short() -> None:
    lines = (FOLDER / "service.py").read_text().splitlines()
    assert len(lines) < 50, "what every TTS does belongs into labkit/providers/tts.py"
