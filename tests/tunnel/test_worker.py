"""What a worker process charges for, and what ends its loop."""

from __future__ import annotations

import asyncio

import pytest

from labkit.settings import Settings
from labkit.tunnel.executor import rules
from labkit.tunnel.process import stops_without_memory


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

    assert rule_for(len) == rule_for(sorted)
    assert rule_for(_decode_loop).thread


def test_a_loop_whose_own_work_runs_out_of_memory_stops_and_says_so() -> None:
    def starve() -> None:
        raise MemoryError("no room")

    loop = asyncio.new_event_loop()
    met = stops_without_memory(loop)
    loop.call_soon(starve)
    try:
        with pytest.raises(RuntimeError):
            loop.run_until_complete(asyncio.sleep(30))
    finally:
        loop.close()
    assert [str(e) for e in met] == ["no room"]
