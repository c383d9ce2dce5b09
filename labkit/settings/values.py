"""Values of all settings: checked choices on top of the defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from labkit.errors import hint, unknown
from labkit.settings.table import LINK_PARTS, SETTINGS, SettingError, Value, unset

FAMILIES = {
    "hosts.NAME": "an emulated provider answers for another host name, e.g. hosts.my.host=openai; "
    "links.my.host.rtt_s, jitter_s, loss and dns_s are its link, the provider's own by default",
    "providers.FIGURE": "one parameter of a provider profile, e.g. "
    "providers.openai.models.gpt-4o.first_token=0.1 (constant, s) or ….first_token.median_s=0.1",
    "agent.NAME": "a parameter of your own agent file, which declares it with its default, "
    'PARAMETERS = {"agent.NAME": 1.0}, and reads it from the JSON in ctx.job.metadata',
    "participant.attributes.NAME": "an attribute of the caller in the room, as text, e.g. "
    "participant.attributes.sip.phoneNumber=+15550100",
    "participant.rpc.METHOD": "what the caller's app answers when the agent calls that method",
}
"""Open-ended families of settings; their names are checked where they are used."""

_OF_PARTICIPANT = ("participant.attributes.", "participant.rpc.")


class Settings(Mapping[str, Value]):
    """A full set of values: the defaults, with some of them changed.

    Besides the settings of :data:`SETTINGS` it holds those of the open-ended :data:`FAMILIES`.

    Attributes:
        changes: The chosen values of :data:`SETTINGS`.
        extra_hosts: The provider that answers for each further host.
        extra_links: Links of those hosts, by dotted name.
        figures: Changed parameters of the provider profiles.
        parameters: Parameters of the agent file, by dotted name.
        participant: Attributes of the caller and answers of its app, as text, by dotted name.
    """

    def __init__(self, changes: Mapping[str, object] | None = None) -> None:
        self.changes: dict[str, Value] = {}
        self.extra_hosts: dict[str, str] = {}
        self.extra_links: dict[str, float] = {}
        self.figures: dict[str, Value] = {}
        self.parameters: dict[str, Value] = {}
        self.participant: dict[str, str] = {}
        given = changes or {}
        for name, value in given.items():
            family, _, rest = name.partition(".")
            host, _, part = rest.rpartition(".")
            if family == "hosts":
                self.extra_hosts[rest.lower()] = str(value)
            elif family == "providers":
                self.figures[rest] = _plain(value)
            elif family == "links" and f"hosts.{host}" in given:
                if part not in LINK_PARTS:
                    raise SettingError(f"{name}: {unknown('part of a link', part, LINK_PARTS)}")
                own = replace(LINK_PARTS[part], name=name)
                self.extra_links[name.lower()] = own.number(value)
            elif name in SETTINGS:
                self._choose(name, value)
            elif name.startswith(_OF_PARTICIPANT) and name not in _OF_PARTICIPANT:
                self.participant[name] = str(value)
            elif family == "agent" and rest:
                self.parameters[name] = _plain(value)
            else:
                raise SettingError(
                    f"unknown setting {name!r}{hint(name, SETTINGS)}; `labkit config` lists all"
                )

    def _choose(self, name: str, given: object) -> None:
        setting = SETTINGS[name]
        value = setting.parse(given)
        if value != setting.default or (setting.may_be_preset and not unset(given)):
            self.changes[name] = value

    def __getitem__(self, name: str) -> Value:
        if name in self.changes:
            return self.changes[name]
        return SETTINGS[name].default

    def __iter__(self) -> Iterator[str]:
        return iter(SETTINGS)

    def __len__(self) -> int:
        return len(SETTINGS)

    def value(self, name: str) -> Value:
        """The value of any setting, open-ended families included; None if unset."""
        if name in SETTINGS:
            return self[name]
        return self.as_dict().get(name)

    def number(self, name: str) -> float:
        """The value of a number that has a default."""
        value = self[name]
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise SettingError(f"{name} has no numeric value: {value!r}")
        return float(value)

    def text(self, name: str) -> str:
        """The value of a text that has a default."""
        return str(self[name])

    def link(self, provider: str, host: str) -> dict[str, float]:
        """Parameters of the link to a host: its own where set, else the provider's."""
        figures = {}
        for part in LINK_PARTS:
            own = self.extra_links.get(f"links.{host}.{part}")
            figures[part] = self.number(f"links.{provider}.{part}") if own is None else own
        return figures

    def of_participant(self, family: str) -> dict[str, str]:
        """The caller's ``attributes``, or the answers of its app (``rpc``), by name."""
        start = f"participant.{family}."
        named = self.participant.items()
        return {k.removeprefix(start): v for k, v in named if k.startswith(start)}

    def options(self) -> dict[str, Any]:
        """The agent's chosen options, in the SDK's own structure.

        For example ``{"session": {"turn_handling": {"endpointing": {"min_delay": 0.4}}}}``.
        """
        options: dict[str, Any] = {}
        for name, setting in SETTINGS.items():
            chosen = name in self.changes and self.changes[name] != setting.left_out
            if setting.sdk and chosen:
                *groups, key = setting.sdk.split(".")
                group = options
                for part in groups:
                    group = group.setdefault(part, {})
                group[key] = self.changes[name]
        return options

    def metadata(self) -> str:
        """What goes into the job's metadata, as JSON; empty if nothing was chosen.

        It holds :meth:`options` and, by dotted name, the parameters of the agent file.
        """
        own = {k: v for k, v in self.changes.items() if k.startswith("agent.")} | self.parameters
        job = self.options() | dict(sorted(own.items()))
        return json.dumps(job) if job else ""

    def as_dict(self) -> dict[str, Value]:
        """The chosen values, sorted by name; equal dicts mean equal settings."""
        open_ended: dict[str, Value] = {f"hosts.{k}": v for k, v in self.extra_hosts.items()}
        open_ended |= self.extra_links
        open_ended |= {f"providers.{k}": v for k, v in self.figures.items()}
        open_ended |= self.participant
        return dict(sorted((self.changes | open_ended | self.parameters).items()))


def _plain(given: object) -> Value:
    """A value of undeclared type: a number or a boolean if it reads as one."""
    if given is None or isinstance(given, (bool, int, float)):
        return given
    text = str(given)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


def parse_assignments(pairs: list[str]) -> dict[str, str]:
    """Reads ``name=value`` texts.

    Raises:
        SettingError: a text without an equals sign.
    """
    changes = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise SettingError(f"--set {pair!r}: write it as name=value")
        changes[name.strip()] = value.strip()
    return changes
