"""What providers refused an agent, in words that help: the cause, the line, and what to do.

What may pass of itself is left out: allowances that are used up, time-outs and a service's own
faults, which agents are expected to survive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from labkit.errors import hint
from labkit.providers.profile import load_profiles
from labkit.tunnel.sources import line_that_names
from labkit.world.events import Event, Refused

_PASSING = (408, 409, 425, 429)
_NAMED = re.compile(r"(?:['\"`/]|\b[Mm]odel (?:ID )?)([\w./:@-]+)")
_WARMING = re.compile(r"Invalid URL \((?:GET|HEAD) /(?:[\w.-]+/)*\)")
"""A client that opens a connection ahead of its need asks for nothing there is."""
_PATH = re.compile(r"Invalid URL \((?:GET|POST) ([^)\s]+)")


def refusals(events: Iterable[Event], agent: Path) -> Iterator[tuple[str, str]]:
    """Each refusal of a request that will be refused again: what to say of it, and where from.

    Args:
        events: What the providers logged in a call.
        agent: The agent file.
    """
    told: set[tuple[str, str]] = set()
    for event in events:
        if not isinstance(event, Refused) or not 400 <= event.status < 500:
            continue
        if event.status in _PASSING or (event.provider, event.message) in told:
            continue
        if _WARMING.match(event.message):
            continue
        told.add((event.provider, event.message))
        at, remedy = _advice(event, agent)
        text = event.message.strip().partition("\n")[0].rstrip(".")
        yield f"{event.provider} answered {event.status}: {text}{remedy}", at


def _advice(event: Refused, agent: Path) -> tuple[str, str]:
    """Where the agent's files name what was refused, and what to do."""
    path = _PATH.search(event.message)
    if path:
        what = "a realtime model" if "realtime" in path[1] else path[1]
        at = line_that_names(agent, "realtime") if "realtime" in path[1] else ""
        return (
            at,
            f" ({what} is not emulated: use a provider of speech to text, a language model "
            "and a provider of text to speech)",
        )
    for named in _NAMED.findall(event.message):
        name = named.removeprefix("models/")
        at = line_that_names(agent, name)
        if at and "model" in event.message.lower():
            known = _models(event)
            if name in known or "must be one of" in event.message:  # they are named already
                return at, ""
            return at, f"; emulated are {', '.join(known)}{hint(name, known)}" if known else ""
        if at:
            return at, ""
    return "", ""


def _models(event: Refused) -> list[str]:
    """The provider's models in the role that refused."""
    profile = load_profiles().get(event.provider)
    if profile and event.role and event.role in profile.table:
        profile = profile.of_role(event.role)
    return profile.names("models") if profile and "models" in profile.table else []
