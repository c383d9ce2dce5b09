"""Whole recordings that are sent to be transcribed."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
from aiohttp import BodyPartReader, web

from labkit.providers.server import RequestError


def read_wav(data: bytes) -> tuple[int, int, bytes]:
    """Sample rate (Hz), channels and samples of a 16-bit WAV, which may be cut short.

    Raises:
        ValueError: it is something else.
    """
    try:
        with wave.open(io.BytesIO(data)) as f:
            if f.getsampwidth() != 2:
                raise ValueError("only 16-bit samples are decoded")
            if not 1 <= f.getnchannels() <= 20 or not 8_000 <= f.getframerate() <= 48_000:
                raise ValueError("such a format is not decoded")
            return f.getframerate(), f.getnchannels(), f.readframes(f.getnframes())
    except (wave.Error, EOFError, RuntimeError, OverflowError, struct.error) as e:
        raise ValueError(str(e)) from None


def first_channel(pcm: bytes, channels: int) -> bytes:
    """The first channel of interleaved 16-bit samples."""
    if channels == 1:
        return pcm
    whole = len(pcm) - len(pcm) % (2 * channels)
    return np.frombuffer(pcm[:whole], np.int16)[::channels].tobytes()


async def read_form(
    request: web.Request, most_bytes: int, too_large: RequestError, no_form: RequestError
) -> tuple[dict[str, str], bytes]:
    """The text fields of a multipart form, and its file.

    Raises:
        RequestError: ``no_form`` if it is none, ``too_large`` if it is longer than ``most_bytes``.
    """
    if not request.content_type.startswith("multipart/"):
        raise no_form
    fields: dict[str, str] = {}
    file, size = b"", 0
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise no_form
            data = bytearray()
            while chunk := await part.read_chunk(1 << 16):
                size += len(chunk)
                if size > most_bytes:
                    raise too_large
                data += chunk
            if part.name == "file":
                file = bytes(data)
            elif part.name:
                fields[part.name] = data.decode("utf-8", "replace")
    except ValueError:  # a form without its boundaries
        raise no_form from None
    return fields, file
