"""The caller's lines: data with sources, and what goes before what."""

from __future__ import annotations

import re

import pytest

from labkit.callers.line import Line
from labkit.callers.persona import PERSONAS
from labkit.settings import SETTINGS, Settings
from labkit.settings.lines import LINES, line_value


def of(**chosen: object) -> Line:
    names = {name.replace("__", "."): value for name, value in chosen.items()}
    return Line.of(Settings(names), 7, 0)


def test_every_line_can_be_chosen_and_every_figure_has_a_source_and_a_date() -> None:
    assert SETTINGS["caller.line"].choices == tuple(LINES)
    for presets in LINES.values():
        for name, preset in presets.items():
            assert name.startswith("links.caller.")
            assert len(preset.source) > 20 and re.fullmatch(
                r"20\d\d-\d\d(-\d\d)?|undated", preset.date
            ), name


def test_an_ordinary_line_is_that_of_the_defaults() -> None:
    assert not LINES["webrtc"] and of() == of(caller__line="webrtc")
    assert of().up_s == pytest.approx(0.0865) and of().up.clean and of().down.clean


def test_a_telephone_line_has_the_delay_that_was_measured() -> None:
    sip = of(caller__line="sip")
    assert sip.up_s == sip.down_s == pytest.approx(0.325 / 2)
    assert sip.codec == "g711" and of(caller__line="mobile").codec == "opus"


def test_a_phone_in_a_radio_network_is_slower_to_send_than_to_hear() -> None:
    mobile = of(caller__line="mobile")
    assert mobile.up.jitter_s > mobile.down.jitter_s > 0
    late = [sum(not mobile.arrives(way, 0, p) for p in range(4000)) for way in ("up", "down")]
    # beyond 40 ms of buffer lie 1.9% of delays of 10 ms (P95 30), and none of 3 ms; 0.5% are lost
    assert late[0] / 4000 == pytest.approx(0.024, abs=0.008)
    assert late[1] / 4000 == pytest.approx(0.005, abs=0.004)


@pytest.mark.parametrize(
    ("chosen", "up", "down"),
    [
        ({}, 0.005, 0.005),
        ({"links.caller.loss": 0.03}, 0.03, 0.03),
        ({"links.caller.up.loss": 0.04}, 0.04, 0.005),
        ({"links.caller.loss": 0.03, "links.caller.up.loss": 0.04}, 0.04, 0.03),
        ({"links.caller.loss": 0.0}, 0.0, 0.0),
    ],
)
def test_what_is_chosen_goes_before_the_line_and_one_way_before_both(
    chosen: dict, up: float, down: float
) -> None:
    line = Line.of(Settings({"caller.line": "mobile", **chosen}), 7, 0)
    assert (line.up.loss, line.down.loss) == (up, down)


def test_both_ways_chosen_go_before_one_way_of_the_line() -> None:
    line = of(caller__line="mobile", links__caller__jitter_s=0.001)
    assert line.up.jitter_s == line.down.jitter_s == 0.001
    default = of(caller__line="mobile", links__caller__jitter_s=0.0)
    assert default.up.jitter_s == 0.0, "the default, but chosen"


def test_what_a_persona_brings_along_goes_before_the_line() -> None:
    settings = PERSONAS["noisy_line"].settings(Settings({"caller.line": "sip"}), 7, 0)
    assert line_value(settings, "loss", "up") == 0.03
    assert line_value(settings, "codec") == "g711"
