"""The caller as a participant of the room, and what the caller's app does there besides talking.

A script is a TOML file::

    [rpc]                                    # what the app answers when the agent calls a method
    getUserLocation = '{"latitude": 52.5}'

    [[event]]                                # one of data, text, dtmf, attributes, rpc
    at_s = 3.0                               # seconds after agent and caller have both joined
    text = "My order number is 17."
    topic = "lk.chat"                        # of data and text; lk.chat unless given
"""

from __future__ import annotations

import asyncio
import contextlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from livekit import rtc

from labkit.errors import UsageError, one_of
from labkit.settings import Settings
from labkit.tunnel.room import Room

CHAT = "lk.chat"
"""The topic on which apps send what their users type."""
_ACTS = ("data", "text", "dtmf", "attributes", "rpc")
_PARTS = ("rpc", "event")
_FORM = "[[event]] with at_s and one of " + ", ".join(_ACTS)


def caller_of(settings: Settings) -> dict[str, Any]:
    """The caller as a room takes it: identity, name, kind, metadata and attributes."""
    kind = f"PARTICIPANT_KIND_{settings.text('participant.kind').upper()}"
    return {
        "identity": settings.text("participant.identity"),
        "name": settings.text("participant.name"),
        "kind": rtc.ParticipantKind.Value(kind),
        "metadata": settings.text("participant.metadata"),
        "attributes": settings.of_participant("attributes"),
    }


def read_script(path: str) -> dict[str, Any]:
    """A script's ``rpc`` and ``event``; both empty without a path.

    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    if not path:
        return {"rpc": {}, "event": []}
    try:
        found = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise UsageError(f"participant.script={path}: {e}") from None
    for name in found:
        if name not in ("rpc", "event"):
            raise UsageError(
                f"participant.script={path}: {name!r}: {one_of(name, ['rpc', 'event'])}"
            )
    rpc, events = found.get("rpc", {}), found.get("event", [])
    if not isinstance(rpc, dict) or not all(isinstance(v, str) for v in rpc.values()):
        raise UsageError(f'participant.script={path}: [rpc] holds METHOD = "text"')
    if not isinstance(events, list) or not all(isinstance(e, dict) for e in events):
        raise UsageError(f"participant.script={path}: write events as {_FORM}")
    for event in events:
        _check(path, event)
    return {"rpc": rpc, "event": events}


def _check(path: str, event: Mapping[str, Any]) -> None:
    acts = [a for a in _ACTS if a in event]
    strange = sorted(event.keys() - {"at_s", "topic", "payload", *_ACTS})
    at_s = event.get("at_s")
    number = isinstance(at_s, (int, float)) and not isinstance(at_s, bool) and at_s >= 0
    if len(acts) != 1 or strange or not number:
        given = ", ".join(f"{k} = {v!r}" for k, v in event.items())
        raise UsageError(f"participant.script={path}: {given}: expected {_FORM}")
    value = event[acts[0]]
    if acts[0] == "attributes":
        fine = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
    elif acts[0] == "dtmf":
        fine = isinstance(value, str) and set(value) <= set("0123456789*#ABCD")
    else:
        fine = isinstance(value, str)
    if not fine:
        raise UsageError(f"participant.script={path}: {acts[0]} = {value!r} is not of its kind")


async def act(room: Room, script: Mapping[str, Any]) -> None:
    """Does what a script says, from the moment at which agent and caller are in the room."""
    await room.met.wait()
    begun_s = room.wire.now()
    for event in sorted(script["event"], key=lambda e: float(e["at_s"])):
        await asyncio.sleep(max(begun_s + float(event["at_s"]) - room.wire.now(), 0.0))
        topic = str(event.get("topic", CHAT))
        if "data" in event:
            room.streams.send_data(event["data"].encode(), str(event.get("topic", "")))
        elif "text" in event:
            room.streams.send_text(event["text"], topic)
        elif "dtmf" in event:
            for digit in event["dtmf"]:
                room.streams.send_dtmf(digit)
        elif "attributes" in event:
            room.change_attributes(room.people[room.caller]["info"], event["attributes"])
        else:
            await _call(room, event["rpc"], str(event.get("payload", "")))


async def _call(room: Room, method: str, payload: str) -> None:
    """Calls a method of the agent's and takes down the answer."""
    answer = room.rpc.call_agent(method, payload)
    with contextlib.suppress(rtc.RpcError):
        await answer
    error = answer.exception()
    said = {"error": f"{error}"} if error is not None else {"payload": answer.result()}
    room.note("called", method=method, **said)
