"""Which levers an agent has: what could be moved, one thing at a time, and what does not apply.

Nothing is run here. What the agent has, and which models served it, is read from calls that have
been run with the agent as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.engine.tables import Results
from labkit.providers.profile import load_profiles
from labkit.settings import SETTINGS, Settings, Value
from labkit.settings.alternatives import (
    ALTERNATIVES,
    HALVED,
    INSTANT,
    NEXT_DOOR,
    Alternative,
    Halved,
)
from labkit.settings.snippet import changed_code

ROLES = ("stt", "llm", "tts")


@dataclass(frozen=True)
class Move:
    """One lever: exactly one thing that is moved.

    Attributes:
        name: What is moved.
        owner: Who can move it: setting, provider, network or user's code.
        moved: From where to where, in words.
        how: What to do about it.
        code: Code to paste; empty if no code does it.
        settings: What is set for it in the tunnel; empty if it does not apply.
        skipped: Why it does not apply.
    """

    name: str
    owner: str
    moved: str = ""
    how: str = ""
    code: str = ""
    settings: Mapping[str, Value] = field(default_factory=dict)
    skipped: str = ""


@dataclass(frozen=True)
class Baseline:
    """What is known of an agent from its calls.

    Attributes:
        chosen: The settings that it ran with.
        values: What its session had, by setting.
        settable: The settings that can be moved.
        models: By role, every provider and model that served.
        own: By setting under ``instant``, the methods that the agent overrides.
        n_tool_calls: In all calls.
    """

    chosen: Settings
    values: Mapping[str, Value]
    settable: frozenset[str]
    models: Mapping[str, list[tuple[str, str]]]
    own: Mapping[str, list[str]]
    n_tool_calls: int

    @classmethod
    def of(cls, results: Results, settings: Mapping[str, object]) -> Baseline:
        """Reads it off the calls of an agent as it is, with the settings that it ran with."""
        surveys = [json.loads(text) for text in results.calls["survey"] if text]
        survey: dict[str, Any] = surveys[0] if surveys else {}
        models: dict[str, set[tuple[str, str]]] = {}
        for text in filter(None, results.calls["models"]):
            for role, served in json.loads(text).items():
                models.setdefault(role, set()).update((p, m) for p, m in served)
        turns = results.turns
        return cls(
            Settings(settings), survey.get("values", {}), frozenset(survey.get("settable", ())),
            {role: sorted(served) for role, served in models.items()},
            {kind: survey.get(kind, []) for kind in ("hook", "nodes")},
            int(turns["tool_calls"].sum()) if "tool_calls" in turns else 0,
        )  # fmt: skip

    def has(self, name: str) -> Value:
        """The value of a setting, None if it is not known."""
        return self.values.get(name, self.chosen[name])


def moves(baseline: Baseline) -> list[Move]:
    """Every lever, those that do not apply with the reason."""
    return [
        *(_setting(a, baseline) for a in ALTERNATIVES),
        *(_halved(h, baseline) for h in HALVED),
        *_links(baseline),
        *_code(baseline),
    ]


def _setting(to: Alternative, baseline: Baseline) -> Move:
    has = baseline.has(to.name)
    before = "the SDK's own" if has is None else _text(has)
    moved = f"{before} → {_text(to.to)}"
    reason = ""
    models = {role: [m for _, m in served] for role, served in baseline.models.items()}
    for role, part in to.served.items():
        if not any(part in model for model in models.get(role, ())):
            reason = f"no {role.upper()} model with {part!r} in its name served"
    for name, value in to.needs.items():
        if baseline.has(name) not in (value, None):
            reason = f"{name} is {_text(baseline.has(name))}, not {_text(value)}"
    if not reason and to.no_gain(has):
        reason = f"it is {_text(has)} already"
    if not reason and to.name not in baseline.settable:
        reason = "the agent file does not take it, and it cannot be set from outside"
    if reason:
        return Move(to.name, "setting", skipped=reason)
    change = {to.name: to.to}
    return Move(to.name, "setting", moved, to.why, changed_code(change), change)


def _halved(halved: Halved, baseline: Baseline) -> Move:
    profiles = load_profiles(baseline.chosen.text("profile") or None, baseline.chosen.figures)
    changes: dict[str, Value] = {}
    for provider, model in baseline.models.get(halved.role, ()):
        for name in halved.parameters:
            path = [model if part == "MODEL" else part for part in name.split(".")]
            leaf = _leaf(profiles[provider].table, path)
            at = ".".join(["providers", provider, *path])
            changes |= {f"{at}{f}": value * halved.factor for f, value in _times(leaf)}
    if not changes:
        reason = f"no {halved.role.upper()} that served has such a parameter"
        return Move(halved.name, "provider", skipped=reason)
    return Move(halved.name, "provider", "halved", halved.how, settings=changes)


def _leaf(table: Mapping[str, Any], path: list[str]) -> Mapping[str, Any]:
    for part in path:
        table = table.get(part, {})
    return table


def _times(leaf: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What there is to be moved of a parameter: all times of a delay, or a plain value."""
    for name, value in leaf.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if name == "value":
                yield "", float(value)
            elif name.endswith("_s"):
                yield f".{name}", float(value)


def _links(baseline: Baseline) -> Iterator[Move]:
    chosen = baseline.chosen
    ways = {"caller's line": ["caller"]}
    for role in ROLES:
        providers = sorted({provider for provider, _ in baseline.models.get(role, ())})
        hosts = [h for h, provider in chosen.extra_hosts.items() if provider in providers]
        ways[f"{role.upper()} link"] = [*providers, *hosts]
    if chosen["gateway.enabled"]:
        ways["gateway link"] = [""]
    for name, ends in ways.items():
        yield _link(name, ends, chosen)


def _link(name: str, ends: list[str], chosen: Settings) -> Move:
    changes: dict[str, Value] = {}
    round_trips = []
    for end in ends:
        at = f"links.{end}." if end else "gateway."
        for part, value in NEXT_DOOR.items():
            if f"{at}{part}" in SETTINGS or chosen.extra_hosts.get(end):
                changes[f"{at}{part}"] = value
        has = chosen.value(f"{at}rtt_s")
        if isinstance(has, (int, float)):
            round_trips.append(float(has))
    if not changes:
        return Move(name, "network", skipped="nothing of that role was connected to")
    if round_trips and max(round_trips) <= NEXT_DOOR["rtt_s"]:
        return Move(name, "network", skipped="it is next door already")
    before = "/".join(f"{1000 * s:g}" for s in dict.fromkeys(round_trips)) or "own"
    to = f"round trip {before} → {1000 * NEXT_DOOR['rtt_s']:g} ms"
    how = "run the agent, or have the provider's region, nearer to the other end"
    return Move(name, "network", to, how, settings=changes)


def _code(baseline: Baseline) -> Iterator[Move]:
    for code in INSTANT:
        kind = code.setting.rpartition(".")[2]
        own = baseline.own.get(kind, [])
        if kind == "tools":
            skipped = "" if baseline.n_tool_calls else "no tool was called in these calls"
        else:
            skipped = "" if own else "the agent has none of its own"
        if baseline.chosen[code.setting]:
            skipped = "it takes no time already"
        moved = ", ".join(own) or "instant"
        change: dict[str, Value] = {} if skipped else {code.setting: True}
        yield Move(
            code.name, "user's code", f"{moved}: no time" if own else moved, code.how,
            settings=change, skipped=skipped,
        )  # fmt: skip


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
