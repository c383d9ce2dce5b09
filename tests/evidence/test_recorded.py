"""The recorded calls: what is published twice agrees, and no output enters the profile."""

from __future__ import annotations

import math
import tomllib

import pytest

from labkit.evidence import statistics
from labkit.evidence.anchors import load as anchors
from labkit.evidence.recorded import Output, load
from labkit.paths import data_dir
from labkit.providers.profile import load_profiles
from labkit.settings import Settings

RECORD = load()
PREFIX = "providers."


def medians(by: str) -> dict[str, float]:
    return {
        str(name): float(value)
        for name, value in RECORD.turns.groupby(by)["response_latency_s"].median().items()
    }


def test_the_turns_have_the_medians_published_of_them() -> None:
    turns = RECORD.turns
    assert (len(turns), turns["call"].nunique()) == (75, 18)
    assert turns["response_latency_s"].median() == pytest.approx(RECORD.outputs["ear_p50"].value)
    assert turns["response_latency_s"].quantile(0.95) == pytest.approx(3.69, abs=0.01)
    assert medians("scenario") == pytest.approx(
        {"backchannel": 2.56, "barge-in": 2.35, "change-mind": 3.26, "repeat-request": 2.64,
         "rough-line": 2.45, "silent-caller": 2.41}, abs=0.0051,
    )  # fmt: skip


def test_the_turns_have_the_medians_published_of_their_lines() -> None:
    by_line = medians("line")
    (vegetarian,) = (line for line in by_line if "vegetarian" in line)
    assert by_line[vegetarian] == pytest.approx(3.62)
    others = RECORD.turns[RECORD.turns["line"] != vegetarian]
    assert others["response_latency_s"].median() == pytest.approx(2.39)
    first = RECORD.turns.groupby("call")["response_latency_s"].first()
    assert first.median() == pytest.approx(2.23, abs=0.0051)


def test_the_two_modes_lie_apart_and_most_of_the_slower_one_is_one_sentence() -> None:
    latency = RECORD.turns["response_latency_s"]
    slow = latency >= RECORD.slow_from_s
    assert latency[slow].min() - latency[~slow].max() > 0.5
    said = RECORD.turns[slow]["line"].value_counts()
    assert (slow.sum(), said.iloc[0]) == (22, 18)


def test_the_record_agrees_with_the_anchors_that_other_studies_draw() -> None:
    p50, p95, gap = anchors("callback_p50", "callback_p95", "callback_dashboard_gap")
    out = RECORD.outputs
    assert (p50.low_s, p50.value_s, p50.high_s) == tuple(
        getattr(out["ear_p50"], name) for name in ("low", "value", "high")
    )
    assert p95.value_s == out["ear_p95"].value
    assert (gap.low_s, gap.high_s) == (out["gap"].low, out["gap"].high)


def test_a_stage_is_the_providers_delay_and_what_the_tunnel_adds() -> None:
    settings = RECORD.settings()
    figures = {k.removeprefix(PREFIX): v for k, v in settings.items() if k.startswith(PREFIX)}
    profiles = load_profiles(figures=figures)
    for stage in RECORD.inputs.values():
        provider, _, name = stage.figure.removeprefix(PREFIX).partition(".")
        where, _, rest = name.rpartition("models.")
        model, _, figure = rest.rpartition(".")
        delay = profiles[provider].delay(*filter(None, where.split(".")), "models", model, figure)
        for q, published_s in ((0.5, stage.median_s), (0.95, stage.p95_s)):
            assert delay.quantile(q) + stage.added_s == pytest.approx(published_s, abs=1e-5)


def test_no_output_enters_the_settings() -> None:
    settings = RECORD.settings()
    stages = {name for stage in RECORD.inputs.values() for name in stage.settings()}
    assert set(settings) == stages
    given = {round(float(v), 3) for v in settings.values() if isinstance(v, float)}
    heard = {
        round(value, 3)
        for out in RECORD.outputs.values()
        for value in (out.value, out.low, out.high, *(x for call in out.samples for x in call))
        if value == value
    } | set(RECORD.turns["response_latency_s"])
    assert not given & heard
    assert not [name for name in settings if name.startswith(("caller.", "links.", "endpointing."))]
    Settings(settings)  # all of them are settings


def test_an_interval_follows_from_observations_where_they_were_published() -> None:
    share = RECORD.outputs["hums"].estimate
    assert (share.value, share.n, share.n_calls) == (3 / 24, 24, 8)
    assert 0.02 < share.low < 0.05 and 0.3 < share.high < 0.4
    stop = RECORD.outputs["stop"].estimate
    assert (stop.value, stop.n) == (pytest.approx(1.04), 8)
    middle = Output(id="x", name="x", low=0.4, high=0.6).estimate
    assert middle.value == pytest.approx(0.5)
    assert math.isnan(RECORD.outputs["sdk_p50"].estimate.low)
    assert statistics.quantile(RECORD.turns, 0.5).low < 2.47


def test_the_claim_is_the_published_interval_of_the_median() -> None:
    claim = RECORD.claim
    assert (claim.quantity, claim.quantile, claim.low_s, claim.high_s) == ("level", 0.5, 2.39, 2.76)


def test_an_output_that_a_profile_is_fitted_to_says_so() -> None:
    """What the gateway's profile has from this recording cannot be checked against it."""
    profile = load_profiles()["livekit"]
    for out in RECORD.outputs.values():
        if out.fitted:
            source = profile.source(*out.fitted.split("."))
            assert "imshivamb/callback" in source
    fitted = {out.fitted for out in RECORD.outputs.values()} - {""}
    of_turns = tomllib.loads((data_dir() / "providers" / "livekit.toml").read_text())["turns"]
    assert fitted == {
        f"turns.{service}.{name}"
        for service in ("eot", "bargein")
        for name, figure in of_turns[service].items()
        if "imshivamb/callback" in figure["source"]
    }
