"""Opens the room of a call, and puts the server that holds it on the tunnel's network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from urllib.parse import urlparse

from labkit.providers.profile import load_profiles
from labkit.settings import Settings
from labkit.tunnel.events import SessionLog
from labkit.tunnel.link import Link
from labkit.tunnel.network import Host, Network
from labkit.tunnel.room import Room
from labkit.tunnel.room_answers import Server
from labkit.tunnel.room_api import RoomApi
from labkit.tunnel.servers import Servers
from labkit.tunnel.spec import ROOM_HOST, SUPPLIED, CallSpec
from labkit.tunnel.visitor import caller_of

PROFILE = "room_server"
"""The profile of the LiveKit server."""
_DNS_S = 0.005


def open_room(
    settings: Settings,
    spec: CallSpec,
    tenant: str,
    caller_rtt_s: float,
    answers: Mapping[str, str],
    now: Callable[[], float],
    log: SessionLog,
) -> Room:
    """The room of a call, with the caller in it.

    Args:
        settings: Who the caller is, what metadata the room has, and how far the server is.
        spec: The call.
        tenant: Whose caller this is; in the room's metadata, where a dispatcher puts it.
        caller_rtt_s: Round trip to the caller, seconds.
        answers: What the script of the caller's app answers to RPC, by method.
        now: The call's clock, seconds.
        log: Where it is written what the agent does to the room.
    """
    info = {
        "name": f"call-{spec.call}",
        "sid": f"RM_call{spec.call}",
        "metadata": settings.text("job.room_metadata") or json.dumps({"tenant": tenant}),
    }
    later = settings["participant.joins_after_s"]
    return Room(
        info,
        caller_of(settings),
        now,
        lambda act, **data: log.add("room", act=act, **data),
        rtt_s=settings.number("room.rtt_s"),
        caller_rtt_s=caller_rtt_s,
        joins_after_s=None if later is None else float(later),
        answers={**answers, **settings.of_participant("rpc")},
    )


def add_room_server(
    network: Network, servers: Servers, room: Room, settings: Settings, spec: CallSpec
) -> None:
    """Puts the LiveKit server on the network.

    Args:
        network: The network of the call.
        servers: Those of the call.
        room: The room that the server holds.
        settings: Which keys it accepts, how far it is.
        spec: The call.
    """
    profile = load_profiles(settings.text("profile") or None, settings.figures)[PROFILE]
    key = SUPPLIED["LIVEKIT_API_KEY"], SUPPLIED["LIVEKIT_API_SECRET"]
    supplied = settings["keys.accept"] == "supplied"
    link = Link(rtt_s=settings.number("room.rtt_s"), dns_s=_DNS_S)
    server = Server(room, profile, (spec.seed, spec.call))

    # an agent file may have set the address of its own server, which this one stands for
    own = urlparse(os.environ.get("LIVEKIT_URL", "")).hostname
    for name in dict.fromkeys((ROOM_HOST, own or ROOM_HOST)):
        if name not in network.hosts:
            network.add(Host(name, PROFILE, link))
            servers.apps[name] = lambda: RoomApi(server, key if supplied else None).app()
