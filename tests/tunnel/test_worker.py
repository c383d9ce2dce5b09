"""What a worker process charges for."""

from __future__ import annotations

from labkit.settings import Settings
from labkit.tunnel.executor import rules


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
