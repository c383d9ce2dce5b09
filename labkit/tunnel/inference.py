"""The inference process of an agent's worker: what plugins ask it is answered in the call's own.

The text turn detector's model is a download that a tunnel has no right to expect. Where it is in
the user's Hugging Face cache it is used. Where it is not, the SDK's audio model stands in: its
score of what the agent has just heard, with its thresholds, and the run says so.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import tempfile
import time
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from livekit.agents.inference.eot.languages import LOCAL_LANGUAGES

from labkit.settings import Settings
from labkit.tunnel import sdk
from labkit.tunnel.detector import WINDOW_S, Detector
from labkit.tunnel.events import SessionLog
from labkit.tunnel.sources import line_that_names
from labkit.world.scene import SAMPLE_RATE_HZ

TEXT_MODELS = {"lk_end_of_utterance_en": "v1.2.2-en",
               "lk_end_of_utterance_multilingual": "v0.4.1-intl"}  # fmt: skip
"""The text turn detector's methods, and the revision of the model that each wants."""
_PLUGIN = "livekit.plugins.turn_detector"
_REPOSITORY = "models--livekit--turn-detector"
_STAND_IN = (
    "the text turn detector's model is not in the Hugging Face cache: the SDK's audio model stands "
    "in for it (its score of the same audio as heard, with its own thresholds), so turns end as "
    "they would with inference.TurnDetector"
)


class Inference:
    """Answers what plugins ask the worker's inference process.

    Args:
        settings: What a prediction costs.
        log: Told of stand-ins.
        heard: The frames that the agent has heard last, int16 mono at 16 kHz.
        memo: Where the audio model's answers are remembered; None for the user's cache.
    """

    def __init__(
        self, settings: Settings, log: SessionLog, heard: deque[bytes], memo: Any = None
    ) -> None:
        self._settings, self._log, self._heard = settings, log, heard
        self._detector = Detector(memo)
        self._runners: dict[str, Any] = {}

    async def do_inference(self, method: str, data: bytes) -> bytes | None:
        """Answers as the inference process does.

        Raises:
            RuntimeError: nothing is known by that name.
        """
        if method in TEXT_MODELS and not _model_is_there(TEXT_MODELS[method]):
            return await self._stand_in(data)
        if method not in self._runners:
            kind = sdk.inference_runner(method)
            if kind is None:
                raise RuntimeError(
                    f"the agent asked the inference process for {method!r}, for which no runner is "
                    "registered; use the SDK's local turn detector (inference.TurnDetector, the "
                    "default)"
                )
            self._runners[method] = kind()
            self._runners[method].initialize()
        answer: bytes | None = self._runners[method].run(data)
        await asyncio.sleep(self._settings.number("compute.eot_s"))
        return answer

    async def _stand_in(self, data: bytes) -> bytes:
        self._log.note(_STAND_IN)
        began_s = time.perf_counter()
        pcm = np.frombuffer(b"".join(self._heard), dtype=np.int16)
        size = round(WINDOW_S * SAMPLE_RATE_HZ)
        pcm = np.concatenate([np.zeros(max(size - len(pcm), 0), dtype=np.int16), pcm[-size:]])
        score = self._detector.score(pcm, WINDOW_S)
        await asyncio.sleep(self._settings.number("compute.eot_s"))
        asked = json.loads(data)["chat_ctx"]
        answer = {
            "eou_probability": score,
            "duration": round(time.perf_counter() - began_s, 3),
            "input": asked[-1]["content"] if asked else "",
        }
        return json.dumps(answer).encode()


def _cache() -> Path:
    """The Hugging Face cache, found as its library finds it."""
    home = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "huggingface"
    )
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()


def _model_is_there(revision: str) -> bool:
    folder = _cache() / _REPOSITORY
    named = folder / "refs" / revision
    return named.is_file() and any(
        (folder / "snapshots" / named.read_text().strip()).glob("onnx/*.onnx")
    )


def with_thresholds(path: Path) -> dict[str, str]:
    """Variables with which an agent's text turn detector finds its list of languages.

    Where the model is not in the user's cache, a cache is laid over that: it has all of it, and the
    list, with the thresholds of the audio model that stands in.
    """
    if importlib.util.find_spec(_PLUGIN) is None or not line_that_names(path, "turn_detector"):
        return {}
    offline = {"HF_HUB_OFFLINE": "1"}  # else its library asks the network for further things
    if any(map(_model_is_there, TEXT_MODELS.values())):
        return offline
    return {"HF_HUB_CACHE": _overlay(str(_cache())), **offline}


@cache
def _overlay(beneath: str) -> str:
    over = tempfile.TemporaryDirectory(prefix="labkit-hf-")
    _kept.append(over)
    folder, under = Path(over.name), Path(beneath)
    for there in under.iterdir() if under.is_dir() else ():
        if there.name != _REPOSITORY:
            (folder / there.name).symlink_to(there)
    languages = {name: {"threshold": value} for name, value in LOCAL_LANGUAGES.items()}
    for revision in TEXT_MODELS.values():
        named = folder / _REPOSITORY / "refs" / revision
        named.parent.mkdir(parents=True, exist_ok=True)
        named.write_text("labkit")
    snapshot = folder / _REPOSITORY / "snapshots" / "labkit"
    snapshot.mkdir(parents=True)
    (snapshot / "languages.json").write_text(json.dumps(languages))
    return over.name


_kept: list[tempfile.TemporaryDirectory[str]] = []
