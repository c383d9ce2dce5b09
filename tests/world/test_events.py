"""What the providers' log adds to an event, and what the record of a call makes of it."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from labkit.providers.registry import emulators
from labkit.world import events
from labkit.world.events import Connected, Event, EventLog, Role, Text


def test_the_log_says_when_and_who_and_the_record_how_far_away() -> None:
    log = EventLog()
    log.add(Connected(model="m"), 12.5, Role.TTS, "somebody")
    log.add(Text(context="c", text="Yes.", characters=4, usd=0.1), 13.0, Role.TTS, "somebody")
    opened, text = log.recorded(10.0, {"somebody": 0.25, "another": 9.0})
    assert isinstance(opened, Connected)
    assert (opened.t_s, opened.role, opened.provider, opened.model) == (2.5, "tts", "somebody", "m")
    assert isinstance(text, Text)
    assert (text.sent_s, text.arrives_s, text.usd, text.text) == (2.75, 3.25, 0.1, "Yes.")
    assert [e.t_s for e in log.events] == [12.5, 13.0], "the log itself stays as it is"


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Connected().t_s = 1.0  # type: ignore[misc]


def test_every_event_is_documented_and_every_provider_has_a_role() -> None:
    kinds = [c for _, c in inspect.getmembers(events, inspect.isclass) if issubclass(c, Event)]
    assert len(kinds) > 15
    assert [c.__name__ for c in kinds if not (c.__doc__ or "").strip()] == []
    assert {cls.role for cls in emulators().values()} == {Role.STT, Role.LLM, Role.TTS}
