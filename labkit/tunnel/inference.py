"""The inference process of an agent's worker, as far as the tunnel has what runs there."""

from __future__ import annotations

from labkit.settings import Settings
from labkit.tunnel.events import SessionLog


class Inference:
    """Answers what plugins ask the worker's inference process."""

    def __init__(self, settings: Settings, log: SessionLog) -> None:
        self._settings, self._log = settings, log

    async def do_inference(self, method: str, data: bytes) -> bytes | None:
        raise RuntimeError(
            f"the agent asked the inference process for {method!r}, which the tunnel does not "
            "have; use the SDK's local turn detector (inference.TurnDetector, the default)"
        )
