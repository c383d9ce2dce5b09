"""A worker process lives long: it must not grow, nor remember."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from labkit.engine.workers import pool
from labkit.settings import Settings
from labkit.tunnel.executor import rules
from labkit.tunnel.worker import CallSpec, run_call


def resident_mb_after(calls: list[int]) -> float:
    """Runs short calls in this process and gives the memory it then holds, megabytes."""
    for call in calls:
        assert run_call(CallSpec("vanilla", call=call, n_turns=2)).status == "ok"
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_the_memory_of_a_worker_stays_flat() -> None:
    """The same twenty callers again and again: whatever they need has been loaded by then."""
    twenty = list(range(20))
    sizes = [pool(1).submit(resident_mb_after, twenty).result() for _ in range(3)]
    # keeping the audio of the 80 turns after the first round would take 40 MB
    assert sizes[-1] - sizes[0] < 10, sizes


def test_every_kind_of_inference_is_charged_and_plain_functions_are_not() -> None:
    from livekit.plugins.silero import onnx_model

    settings = Settings({"compute.vad_window_s": 0.001})
    rule_for = rules(settings, memo=None)
    session = onnx_model.new_inference_session(force_cpu=True)
    plugin = onnx_model.OnnxModel(onnx_session=session, sample_rate=16000)
    assert rule_for(sorted).cost_s == 0.0
    assert rule_for(plugin).cost_s == 0.001, "called as it is"
    assert rule_for(plugin.__call__).cost_s == 0.001
    assert rule_for(session.run).cost_s == settings.number("compute.embed_s")

    def _decode_loop() -> None: ...

    assert rule_for(test_the_memory_of_a_worker_stays_flat) == rule_for(sorted)
    assert rule_for(_decode_loop).thread
