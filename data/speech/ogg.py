"""Makes Ogg files reproducible: libsndfile draws the stream's serial number from the clock."""

from __future__ import annotations

import struct
from pathlib import Path


def _crc_table() -> list[int]:
    table = []
    for i in range(256):
        crc = i << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
        table.append(crc)
    return table


_TABLE = _crc_table()


def _crc(data: bytes | bytearray) -> int:
    crc = 0
    for byte in data:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ _TABLE[(crc >> 24) ^ byte]
    return crc


def settle_serial(path: Path, serial: int = 1) -> None:
    """Rewrites the serial number of every page of an Ogg file (RFC 3533) and its checksum."""
    data = bytearray(path.read_bytes())
    at = 0
    while at < len(data):
        if data[at : at + 4] != b"OggS":
            raise ValueError(f"{path}: no Ogg page at byte {at}")
        n_segments = data[at + 26]
        end = at + 27 + n_segments + sum(data[at + 27 : at + 27 + n_segments])
        struct.pack_into("<I", data, at + 14, serial)
        struct.pack_into("<I", data, at + 22, 0)
        struct.pack_into("<I", data, at + 22, _crc(data[at:end]))
        at = end
    path.write_bytes(data)
