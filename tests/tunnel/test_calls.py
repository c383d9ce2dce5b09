"""Whole calls through the tunnel, each against an answer known beforehand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from labkit.callers.ear import VOICED_LEVEL
from labkit.engine.run import run as run_callers
from labkit.engine.tables import Results
from labkit.errors import UsageError
from labkit.evidence.statistics import quantile

AGENTS = Path(__file__).parents[1] / "agents"
DNS_S = 0.005
"""The default of ``links.*.dns_s``."""


def run(agent: str, *, settings: dict[str, Any] | None = None, **terms: Any) -> Results:
    """Calls of fluent callers: who pauses is sometimes answered early, which moves other turns."""
    fluent = {"caller.persona": "fluent"}
    return run_callers(agent, settings=fluent | (settings or {}), **terms)


def paired(one: Results, other: Results) -> pd.DataFrame:
    """Turns of two arms side by side, the second with the suffix ``_2``, and ``rise_s``."""
    assert set(one.calls["status"]) == set(other.calls["status"]) == {"ok"}, other.calls["error"]
    both = one.turns.merge(other.turns, on=["call", "turn"], suffixes=("", "_2"), validate="1:1")
    assert len(both) == len(one.turns) == len(other.turns)
    return both.assign(rise_s=both["response_latency_s_2"] - both["response_latency_s"])


@pytest.fixture(scope="module")
def plain() -> Results:
    results = run("vanilla", calls=6, turns=5, seed=7)
    assert set(results.calls["status"]) == {"ok"}, results.calls["error"].tolist()
    return results


# ------------------------------------------------------------------------- repeatability


def test_the_same_seed_gives_the_same_calls_however_many_workers_share_them(plain: Results) -> None:
    again = run("vanilla", calls=6, turns=5, seed=7, workers=1, fresh=True)
    shared = run("vanilla", calls=6, turns=5, seed=7, workers=2, fresh=True)
    assert again.digest == plain.digest
    assert shared.digest == plain.digest
    assert len(set(plain.calls["simulated_s"])) == 6, "calls differ from each other"


def test_another_seed_gives_other_calls(plain: Results) -> None:
    assert run("vanilla", calls=6, turns=5, seed=8).digest != plain.digest


def test_a_call_does_not_depend_on_how_many_others_there_are(plain: Results) -> None:
    fewer = run("vanilla", calls=2, turns=5, seed=7)
    both = paired(fewer, plain_calls(plain, 2))
    assert (both["rise_s"] == 0).all()


def plain_calls(results: Results, n: int) -> Results:
    return Results(
        results.turns[results.turns["call"] < n], results.calls[results.calls["call"] < n]
    )


def test_every_turn_is_answered_and_accounted_for(plain: Results) -> None:
    assert (plain.calls["status"] == "ok").all()
    assert len(plain.turns) == 30
    assert not plain.turns["outcome"].isin(["missed", "failed"]).any()
    assert plain.turns["residual_s"].abs().max() < 0.005


# ------------------------------------------------------------------------- round trips


def test_a_longer_way_to_the_model_costs_one_round_trip_on_warm_turns(plain: Results) -> None:
    far = run("vanilla", calls=6, turns=5, seed=7, settings={"links.openai.rtt_s": 0.13})
    both = paired(plain, far)
    warm = both[~both["llm_cold"] & ~both["llm_cold_2"] & (both["llm_network_s"] > 0)]
    assert len(warm) >= 10
    assert warm["rise_s"].to_numpy() == pytest.approx(0.1, abs=0.005)
    middle = warm["response_latency_s_2"].median() - warm["response_latency_s"].median()
    assert middle == pytest.approx(0.1, abs=0.005)
    # where the reply was ready before the turn was committed, the way cannot be heard
    hidden = both[(both["llm_network_s"] == 0) & (both["llm_network_s_2"] == 0)]
    assert len(hidden) and hidden["rise_s"].to_numpy() == pytest.approx(0, abs=1e-6)


BARE = {"turn_detection": "vad", "preemptive.enabled": False}
"""No overlap: the request leaves at the commit, and the first sentence follows it."""


def rise_of_first_turns(rtt_s: float, **cold: bool) -> np.ndarray:
    """How much later the first replies are without a prewarmed connection, seconds by call."""
    links = {"links.openai.rtt_s": rtt_s, "links.cartesia.rtt_s": rtt_s}
    changes = {name.replace("_", "."): value for name, value in cold.items()}
    warm = run("vanilla", calls=4, turns=2, seed=7, settings=BARE | links)
    bare = run("vanilla", calls=4, turns=2, seed=7, settings=BARE | links | changes)
    both = paired(warm, bare)
    later = both[both["turn"] > 0]
    assert later["rise_s"].to_numpy() == pytest.approx(0, abs=1e-6), "a warm connection is warm"
    return both[both["turn"] == 0].sort_values("call")["rise_s"].to_numpy()


def test_a_cold_https_connection_costs_a_look_up_and_two_round_trips() -> None:
    near = rise_of_first_turns(0.03, prewarm_llm=False)
    far = rise_of_first_turns(0.08, prewarm_llm=False)
    assert (far - near) / 0.05 == pytest.approx(2, abs=0.01)  # TCP, TLS 1.3
    assert near - 2 * 0.03 == pytest.approx(DNS_S, abs=0.001)


def test_a_cold_websocket_costs_three_round_trips_less_what_the_model_hides() -> None:
    near = rise_of_first_turns(0.03, prewarm_tts=False)
    far = rise_of_first_turns(0.08, prewarm_tts=False)
    waited = (near > 0) & (far > 0)  # else the first sentence took longer than the handshakes
    assert waited.sum() >= 2
    assert (far - near)[waited] / 0.05 == pytest.approx(3, abs=0.01)  # TCP, TLS 1.3, upgrade


def test_the_callers_own_distance_is_heard_once_each_way(plain: Results) -> None:
    far = run("vanilla", calls=6, turns=5, seed=7, settings={"links.caller.rtt_s": 0.14})
    both = paired(plain, far)
    # later turns may find the connection closed; and one draft more may be under way
    alike = both[(both["llm_cold"] == both["llm_cold_2"])
                 & (both["llm_calls"] == both["llm_calls_2"])]  # fmt: skip
    assert len(alike) >= 20
    assert alike["rise_s"].to_numpy() == pytest.approx(0.1, abs=0.005)


# ------------------------------------------------------------------------- the outside


def test_a_host_that_is_not_there_ends_the_run_and_says_how_to_add_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STRANGER_HOST", "api.openaii.com")
    with pytest.raises(UsageError, match=r"--set hosts\.api\.openaii\.com=PROVIDER") as refused:
        run(str(AGENTS / "stranger.py"), calls=1, turns=2, seed=7)
    assert "'api.openaii.com' (did you mean api.openai.com?)" in str(refused.value)

    added = {"hosts.api.openaii.com": "openai"}
    results = run(str(AGENTS / "stranger.py"), calls=1, turns=2, seed=7, settings=added)
    assert set(results.calls["status"]) == {"ok"}, results.calls["error"].tolist()
    assert set(results.turns["outcome"]) == {"answered"}


def test_an_address_outside_is_refused_like_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRANGER_HOST", "192.0.2.7")  # RFC 5737: belongs to nobody
    with pytest.raises(UsageError, match=r"no host '192\.0\.2\.7'"):
        run(str(AGENTS / "stranger.py"), calls=1, turns=2, seed=7)


def test_the_line_that_names_the_host_is_told(tmp_path: Path) -> None:
    code = (AGENTS / "stranger.py").read_text(encoding="utf-8")
    named = code.replace("{os.environ['STRANGER_HOST']}", "llm.example.com")
    assert named != code
    (tmp_path / "mine.py").write_text(named, encoding="utf-8")
    line = 1 + named[: named.index("llm.example.com")].count("\n")
    place = re.escape(f"{tmp_path / 'mine.py'}:{line}: ")
    with pytest.raises(UsageError, match=f"^{place}.*no host"):
        run(str(tmp_path / "mine.py"), calls=1, turns=1, seed=7)


# ------------------------------------------------------------------------- the ear, again


def voiced(track: np.ndarray, rate_hz: int) -> np.ndarray:
    """Moments of a track at which it is louder than the threshold, seconds."""
    return np.flatnonzero(np.abs(track.astype(np.int32)) > VOICED_LEVEL) / rate_hz


def test_the_written_call_agrees_with_the_table(tmp_path: Path) -> None:
    results = run("vanilla", calls=2, turns=4, seed=7, tracks=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["call-0000.wav", "call-0001.wav"]
    for call, turns in results.turns.groupby("call"):
        stereo, rate_hz = soundfile.read(tmp_path / f"call-{call:04d}.wav", dtype="int16")
        caller, agent = voiced(stereo[:, 0], rate_hz), voiced(stereo[:, 1], rate_hz)
        starts = [*turns["at_caller_started_s"], np.inf]
        for i, turn in enumerate(turns.itertuples()):
            stopped_s = caller[(caller >= starts[i] - 0.01) & (caller < starts[i + 1] - 0.01)].max()
            replied_s = agent[agent > stopped_s].min()
            assert replied_s - stopped_s == pytest.approx(turn.response_latency_s, abs=0.03)


# ------------------------------------------------------------------------- the wall's clock


@pytest.mark.wall
@pytest.mark.slow
def test_the_walls_clock_agrees_with_the_virtual_one() -> None:
    terms: dict[str, Any] = {"calls": 2, "turns": 3, "seed": 7, "workers": 2}
    virtual = run("vanilla", **terms)
    wall = run("vanilla", **terms, clock="wall")
    assert set(wall.calls["status"]) == {"ok"}, wall.calls["error"].tolist()
    expected = quantile(virtual.turns, 0.5).value
    assert quantile(wall.turns, 0.5).value == pytest.approx(
        expected, abs=max(0.03, 0.05 * expected)
    )
