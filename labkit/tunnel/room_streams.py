"""Data packets, text and byte streams and DTMF of the tunnel's room, both ways."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import Any

from livekit import rtc

from labkit.tunnel.room_wire import Wire

_LONGEST = 4000
"""Characters that are kept of what the agent sends."""


class Streams:
    """What an agent sends, taken down; and what the caller's app sends, delivered.

    Args:
        wire: The way to the SDK; what the agent sends is told to its ``note``.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._open: dict[int, dict[str, Any]] = {}
        self._unread: dict[int, str] = {}

    # ------------------------------------------------------------------ from the agent

    def do_publish_data(self, req: Any, response: Any) -> None:
        data = ctypes.string_at(req.data_ptr, req.data_len) if req.data_len else b""
        self._note("data", req.topic, data, req.destination_identities)
        self._wire.call_back("publish_data", response)

    def do_publish_sip_dtmf(self, req: Any, response: Any) -> None:
        self._wire.note("dtmf", code=req.code, digit=req.digit)
        self._wire.call_back("publish_sip_dtmf", response)

    def do_publish_transcription(self, req: Any, response: Any) -> None:
        for segment in req.segments:
            self._wire.note("transcription", text=segment.text[:_LONGEST], final=segment.final)
        self._wire.call_back("publish_transcription", response)

    def do_send_text(self, req: Any, response: Any) -> None:
        self._note("text", req.options.topic, req.text, req.options.destination_identities)
        length = len(req.text.encode())
        self._wire.call_back("send_text", response, info=self._info(req.options, length))

    def do_send_bytes(self, req: Any, response: Any) -> None:
        self._send_bytes("send_bytes", req.options, response, req.bytes)

    def do_send_file(self, req: Any, response: Any) -> None:
        self._send_bytes("send_file", req.options, response, Path(req.file_path).read_bytes())

    def _send_bytes(self, kind: str, options: Any, response: Any, data: bytes) -> None:
        self._note("bytes", options.topic, data, options.destination_identities)
        self._wire.call_back(kind, response, info=self._info(options, len(data), "bytes"))

    def do_text_stream_open(self, req: Any, response: Any) -> None:
        self._open_stream("text", req.options, response)

    def do_byte_stream_open(self, req: Any, response: Any) -> None:
        self._open_stream("byte", req.options, response)

    def _open_stream(self, kind: str, options: Any, response: Any) -> None:
        handle = self._wire.new_handle()
        self._open[handle] = {"options": options, "parts": []}
        writer = {"handle": {"id": handle}, "info": self._info(options, None, kind)}
        self._wire.call_back(f"{kind}_stream_open", response, writer=writer)

    def do_text_stream_write(self, req: Any, response: Any) -> None:
        self._open[req.writer_handle]["parts"].append(req.text)
        self._wire.call_back("text_stream_writer_write", response)

    def do_byte_stream_write(self, req: Any, response: Any) -> None:
        self._open[req.writer_handle]["parts"].append(req.bytes)
        self._wire.call_back("byte_stream_writer_write", response)

    def do_text_stream_close(self, req: Any, response: Any) -> None:
        self._close_stream("text", "", req.writer_handle)
        self._wire.call_back("text_stream_writer_close", response)

    def do_byte_stream_close(self, req: Any, response: Any) -> None:
        self._close_stream("bytes", b"", req.writer_handle)
        self._wire.call_back("byte_stream_writer_close", response)

    def _close_stream(self, kind: str, empty: Any, handle: int) -> None:
        stream = self._open.pop(handle)
        options = stream["options"]
        whole = empty.join(stream["parts"])
        self._note(kind, options.topic, whole, options.destination_identities)

    def _info(self, options: Any, length: int | None, kind: str = "text") -> dict[str, Any]:
        own = {"name": options.name or "unknown"} if kind != "text" else {}
        plain = "text/plain" if kind == "text" else "application/octet-stream"
        return {
            "stream_id": options.id or self._wire.new_sid("STR"),
            "timestamp": round(time.time() * 1e3),
            "mime_type": getattr(options, "mime_type", "") or plain,
            "topic": options.topic,
            "total_length": length,
            "attributes": dict(options.attributes),
            **own,
        }

    def _note(self, kind: str, topic: str, content: Any, to: Any) -> None:
        text = content.decode(errors="replace") if isinstance(content, bytes) else content
        self._wire.note(kind, topic=topic, content=text[:_LONGEST], to=list(to))

    # ------------------------------------------------------------------ from the caller's app

    def send_data(self, data: bytes, topic: str = "", sender: str | None = None) -> None:
        """Delivers a data packet of the caller's, or of another sender; empty for a server."""
        kept = ctypes.create_string_buffer(data, len(data) or 1)
        where = {"data_ptr": ctypes.addressof(kept), "data_len": len(data)}
        owned = {"handle": {"id": self._wire.new_handle(kept)}, "data": where}
        self._wire.emit(
            "data_packet_received", kind=rtc.DataPacketKind.KIND_RELIABLE,
            participant_identity=self._wire.caller if sender is None else sender,
            user={"topic": topic, "data": owned},
        )  # fmt: skip

    def send_dtmf(self, digit: str) -> None:
        """Delivers a key that the caller presses."""
        code = "0123456789*#ABCD".index(digit)
        self._wire.emit(
            "data_packet_received", participant_identity=self._wire.caller,
            sip_dtmf={"code": code, "digit": digit},
        )  # fmt: skip

    def send_text(self, text: str, topic: str) -> None:
        """Delivers a text stream of the caller's; the agent reads it whole."""
        handle = self._wire.new_handle()
        self._unread[handle] = text
        info = {
            "stream_id": self._wire.new_sid("STR"), "timestamp": round(time.time() * 1e3),
            "mime_type": "text/plain", "topic": topic, "total_length": len(text.encode()),
        }  # fmt: skip
        self._wire.emit(
            "text_stream_opened", reader={"handle": {"id": handle}, "info": info},
            participant_identity=self._wire.caller,
        )  # fmt: skip

    def do_text_read_incremental(self, req: Any, response: Any) -> None:
        text = self._unread.pop(req.reader_handle)
        self._wire.read_event(req.reader_handle, chunk_received={"content": text})
        self._wire.read_event(req.reader_handle, eos={})
