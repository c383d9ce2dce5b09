"""Shapes that Deepgram's streaming and batch answers share, and the audio they are made from."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from typing import Any

from labkit.providers.hearing import HeardWord
from labkit.providers.turn_end import FILLERS, bare

_SLICE = 4 << 20  # bytes
NOTHING_HEARD = hashlib.sha256(b"").hexdigest()
"""The fingerprint given at the end of a stream, which is not kept."""


def general(model: str) -> str:
    """A model's name without what the service takes for granted."""
    return model.removesuffix("-general")


def model_uuid(model: str) -> str:
    """A made-up but constant id of a model."""
    digest = hashlib.sha256(model.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def model_info(model: str) -> dict[str, str]:
    """What the service says about a model."""
    return {"name": f"general-{model}", "version": "emulated", "arch": model}


def spoken(words: list[HeardWord], filler_words: bool) -> list[HeardWord]:
    """The words a transcript holds: fillers only on demand."""
    return words if filler_words else [w for w in words if bare(w.text) not in FILLERS]


def transcript(words: list[HeardWord], written: bool) -> str:
    """The words as one line, as written or bare."""
    return " ".join(w.text if written else bare(w.text) for w in words)


def alternative(words: list[HeardWord], written: bool) -> dict[str, Any]:
    """The ``alternatives`` entry for some words."""
    listed: list[dict[str, Any]] = []
    for w in words:
        entry: dict[str, Any] = {
            "word": bare(w.text),
            "start": round(w.start_s, 3),
            "end": round(w.end_s, 3),
            "confidence": w.confidence,
        }
        if written:
            entry["punctuated_word"] = w.text
        listed.append(entry)
    confidence = sum(w.confidence for w in words) / len(words) if words else 0.0
    return {
        "transcript": transcript(words, written),
        "confidence": round(confidence, 4),
        "words": listed,
    }


async def fingerprint(audio: bytes) -> str:
    """The SHA-256 of a recording, worked out without keeping others waiting."""
    digest = hashlib.sha256()
    for i in range(0, len(audio), _SLICE):
        digest.update(audio[i : i + _SLICE])
        if len(audio) > _SLICE:
            await asyncio.sleep(0)
    return digest.hexdigest()


def summary(request_id: str, sha256: str, duration_s: float) -> dict[str, Any]:
    """The metadata at the end of a recording."""
    created = datetime.fromtimestamp(asyncio.get_running_loop().time(), UTC)
    return {
        "transaction_key": "deprecated",
        "request_id": request_id,
        "sha256": sha256,
        "created": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "duration": round(duration_s, 3),
        "channels": 1,
    }
