"""Which levers apply, in which order they come, and that a planted cause comes first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from labkit.engine.tables import Results
from labkit.errors import UsageError
from labkit.evidence import levers as module
from labkit.evidence.levers import AS_IS, best_of, both, interactions, levers, measured, pairs_of
from labkit.evidence.moves import Baseline, Move, moves
from labkit.providers.profile import load_profiles
from labkit.randomness import Delay
from labkit.settings import SETTINGS, Settings
from labkit.settings.alternatives import ALTERNATIVES, HALVED, INSTANT
from labkit.settings.roles import figure, link
from labkit.settings.snippet import session_code
from tests.handmade import make_turns

AGENT = str(Path(__file__).parents[1] / "agents" / "own_work.py")
QUIET = {"progress": lambda *_: None, "workers": 1}
ALL = frozenset(s.name for s in SETTINGS.values() if s.sdk)
SERVED = {
    role: [(str(SETTINGS[f"{role}.provider"].default), figure(role, "x").split(".")[3])]
    for role in ("stt", "tts")
} | {"llm": [("openai", "gpt-4o-mini"), ("openai", "gpt-4.1")]}


def baseline(chosen: Mapping[str, object] | None = None, **more) -> Baseline:
    known = {"values": {"endpointing.min_delay_s": 0.3}, "settable": ALL, "models": SERVED,
             "own": {}, "n_tool_calls": 0}  # fmt: skip
    return Baseline(Settings(chosen), **{**known, **more})


def by_name(known: list[Move]) -> dict[str, Move]:
    found = {m.name: m for m in known}
    assert len(found) == len(known)
    return found


# ------------------------------------------------------------------------- what there is


def test_every_alternative_is_a_value_of_its_setting_and_names_settings() -> None:
    for a in ALTERNATIVES:
        assert SETTINGS[a.name].parse(a.to) == a.to
        assert all(SETTINGS[name].parse(value) == value for name, value in a.needs.items())
        assert a.why and SETTINGS[a.name].sdk
    assert {code.setting for code in INSTANT} <= set(SETTINGS)


def test_a_lever_moves_exactly_one_setting_and_its_code_does_the_same() -> None:
    for m in moves(baseline()):
        if m.owner == "setting" and not m.skipped:
            assert list(m.settings) == [m.name]
            assert m.code and session_code(m.settings)
            argument = m.code.removeprefix("AgentSession(").removesuffix(")")
            loose = argument.replace(" ", "")
            made = "".join(session_code(m.settings).split()).replace(",}", "}")
            assert loose in made.replace(",)", ")")


def test_what_the_agent_has_already_is_not_moved() -> None:
    known = by_name(moves(baseline(values={
        "endpointing.min_delay_s": 0.0, "endpointing.max_delay_s": 0.8, "turn_detection": "vad",
        "preemptive.enabled": True, "preemptive.tts": False,
    })))  # fmt: skip
    assert known["endpointing.min_delay_s"].skipped == "it is 0 already"
    assert known["turn_detection"].skipped == "it is vad already"
    assert known["preemptive.enabled"].skipped == "it is on already"
    assert "turn_detection is vad" in known["turn_detector.threshold"].skipped
    assert not known["preemptive.tts"].skipped
    slower = by_name(moves(baseline(values={"endpointing.max_delay_s": 0.8})))
    assert slower["endpointing.max_delay_s"].skipped == "it is 0.8 already"


def test_what_cannot_be_set_or_did_not_serve_is_not_moved() -> None:
    known = by_name(moves(baseline(settable=frozenset({"preemptive.tts"}))))
    assert "cannot be set from outside" in known["endpointing.min_delay_s"].skipped
    assert not known["preemptive.tts"].skipped
    assert "served" in known["stt.eot_threshold"].skipped
    nothing = by_name(moves(baseline(models={})))
    assert all(nothing[h.name].skipped for h in HALVED)
    assert nothing["TTS link"].skipped and not nothing["caller's line"].skipped


def test_hooks_nodes_and_tools_apply_where_there_are_any() -> None:
    none = by_name(moves(baseline()))
    assert all(none[code.name].skipped for code in INSTANT)
    own = by_name(moves(baseline(own={"hook": ["Busy.on_user_turn_completed"]}, n_tool_calls=2)))
    assert own["on_user_turn_completed"].settings == {"instant.hook": True}
    assert own["tool calls"].settings == {"instant.tools": True}
    assert own["own stt, llm, tts nodes"].skipped
    still = baseline({"instant.tools": True}, n_tool_calls=2)
    assert by_name(moves(still))["tool calls"].skipped == "it takes no time already"


def test_all_times_of_a_parameter_are_halved_for_every_model_that_served() -> None:
    found = by_name(moves(baseline()))["LLM TTFT"].settings
    figures = {name.removeprefix("providers."): value for name, value in found.items()}
    before, after = load_profiles()["openai"], load_profiles(figures=figures)["openai"]
    for _, model in SERVED["llm"]:
        old, new = (p.delay("models", model, "first_token") for p in (before, after))
        for q in (0.1, 0.5, 0.95):
            assert new.quantile(q) == pytest.approx(old.quantile(q) / 2)
    assert after.delay("models", "gpt-4o", "first_token") == before.delay(
        "models", "gpt-4o", "first_token"
    )
    rate = by_name(moves(baseline()))["LLM time per token"].settings
    assert rate["providers.openai.models.gpt-4.1.tokens_per_s"] == 2 * before.value(
        "models", "gpt-4.1", "tokens_per_s"
    )


def test_halving_starts_from_what_is_set() -> None:
    name = figure("tts", "first_audio")
    found = by_name(moves(baseline({name: 0.4})))["TTS TTFB"].settings
    _, provider, rest = name.split(".", 2)
    figures = {f"{provider}.{rest}": 0.4} | {
        n.removeprefix("providers."): v for n, v in found.items()
    }
    delay = load_profiles(figures=figures)[provider].delay(*rest.split(".", 2))
    assert delay == Delay(median_s=0.2, p95_s=0.2)


def test_a_link_is_brought_next_door_with_all_its_hosts() -> None:
    chosen = {"hosts.my.host": "openai", "links.my.host.rtt_s": 0.2, "gateway.enabled": True}
    known = by_name(moves(baseline(chosen)))
    assert known["LLM link"].settings == {
        "links.openai.rtt_s": 0.001, "links.openai.jitter_s": 0.0, "links.openai.loss": 0.0,
        "links.my.host.rtt_s": 0.001, "links.my.host.jitter_s": 0.0, "links.my.host.loss": 0.0,
    }  # fmt: skip
    assert known["LLM link"].moved == "round trip 30/200 → 1 ms"
    assert known["gateway link"].settings == {"gateway.rtt_s": 0.001}
    near = by_name(moves(baseline({link("tts", "rtt_s"): 0.001})))
    assert near["TTS link"].skipped == "it is next door already"


def test_a_baseline_is_read_off_its_calls() -> None:
    survey = {"values": {"preemptive.tts": True}, "settable": ["llm.model"], "hook": ["A.b"]}
    calls = pd.DataFrame({
        "survey": ["", json.dumps(survey)],
        "models": [json.dumps({"llm": [["p", "b"]]}), json.dumps({"llm": [["p", "a"]]})],
    })  # fmt: skip
    found = Baseline.of(Results(pd.DataFrame({"tool_calls": [1, 2]}), calls), {})
    assert found.models == {"llm": [("p", "a"), ("p", "b")]}
    assert (found.has("preemptive.tts"), found.n_tool_calls) == (True, 3)
    assert found.own == {"hook": ["A.b"], "nodes": []}
    assert found.settable == {"llm.model"}


# ------------------------------------------------------------------------- what they buy

KNOWN = [
    Move("slow", "setting", settings={"a": 1}), Move("quick", "network", settings={"b": 1}),
    Move("same", "provider", settings={"c": 1}), Move("none", "setting", skipped="no"),
]  # fmt: skip


def arms(**faster_s: float) -> pd.DataFrame:
    parts = [make_turns().assign(arm=AS_IS)]
    parts += [make_turns(faster_s=s).assign(arm=name) for name, s in faster_s.items()]
    return pd.concat(parts, ignore_index=True).assign(n_false_endpoints=0)


def test_levers_are_ranked_by_what_they_save_at_least_and_equal_arms_save_nothing() -> None:
    turns = arms(slow=-0.05, quick=0.2, same=0.0)
    table = measured(turns, KNOWN)
    assert table["lever"].tolist() == ["quick", "same", "slow"]
    assert table["saving_s"].tolist() == pytest.approx([0.2, 0, -0.05])
    same = table.iloc[1]
    assert same[["saving_s", "saving_low_s", "saving_high_s", "usd", "harm"]].tolist() == [0] * 5
    assert best_of(table) == ["quick"]


def test_only_what_saves_for_certain_is_combined() -> None:
    turns = arms(quick=0.02, slow=0.01)
    turns.loc[(turns["arm"] == "quick") & (turns["call"] < 2), "response_latency_s"] -= 1.0
    turns.loc[(turns["arm"] == "quick") & (turns["call"] > 7), "response_latency_s"] += 0.9
    table = measured(turns, KNOWN)
    assert table["saving_s"].tolist() == pytest.approx([0.01, 0.04])
    assert table["lever"].tolist() == ["slow", "quick"], "the larger mean is the less certain one"
    assert best_of(table) == ["slow"]


def test_a_rude_lever_gets_no_credit_for_its_premature_replies() -> None:
    turns = arms(quick=0.0, slow=0.0, same=0.0)
    rude = (turns["arm"] == "quick") & (turns["turn"] == 0)
    turns.loc[rude, ["outcome", "response_latency_s"]] = ["premature", -1.0]
    turns.loc[rude, "n_false_endpoints"] = 2
    turns.loc[turns["arm"] == "quick", "usd"] += 0.001
    row = measured(turns, KNOWN).set_index("lever").loc["quick"]
    assert row["saving_s"] == 0
    assert row["n_pairs"] == 30
    assert row["harm"] == pytest.approx(0.25)
    assert row["n_false_endpoints"] == pytest.approx(0.5)
    assert row["usd"] == pytest.approx(0.001)


def test_pairs_are_of_levers_that_move_different_things() -> None:
    settings = {"x": {"a": 1}, "y": {"b": 1}, "z": {"a": 2}}
    assert pairs_of(["x", "y", "z"], settings) == {
        both("x", "y"): {"a": 1, "b": 1}, both("y", "z"): {"b": 1, "a": 2},
    }  # fmt: skip


def test_an_interaction_is_what_a_pair_saves_beyond_its_members() -> None:
    turns = arms(quick=0.2, same=0.1)
    together = make_turns(faster_s=0.25).assign(arm=both("quick", "same"))
    found = interactions(pd.concat([turns, together]), [("quick", "same")])
    assert found["interaction_s"].tolist() == pytest.approx([-0.05])
    assert not len(interactions(turns, []))


def test_a_lever_whose_calls_fail_is_told_of_with_its_error() -> None:
    turns = arms(quick=0.2)
    calls = pd.DataFrame({
        "arm": [AS_IS, "quick", "slow"], "status": ["ok", "ok", "failed"],
        "error": ["", "", "ValueError: no"],
    })  # fmt: skip
    found = module.summary(Results(turns, calls), KNOWN[:2])
    assert found.table["lever"].tolist() == ["quick"]
    assert found.skipped.to_dict("records") == [
        {"lever": "slow", "owner": "setting", "reason": "ValueError: no"}
    ]


def test_nothing_is_said_of_a_run_that_was_stopped_before_its_first_call() -> None:
    calls = pd.DataFrame(columns=["arm", "status", "error", "survey", "models"])
    stopped = Results(pd.DataFrame(), calls, interrupted=True)
    found = module.summary(stopped, moves(Baseline.of(stopped, {})))
    assert not len(found.table) and not len(found.interactions)
    assert set(found.skipped.query("lever == 'caller\\'s line'")["reason"]) == {"not run"}


# ------------------------------------------------------------------------- planted causes


@pytest.mark.slow
@pytest.mark.parametrize(("does", "lever", "saving_s"), [
    ("sleep", "on_user_turn_completed", 3.0), ("tool", "tool calls", 3.2 / 3),
])  # fmt: skip
def test_a_sleep_in_the_agents_own_code_comes_first_with_its_size(
    does: str, lever: str, saving_s: float
) -> None:
    chosen = {"agent.does": does, "agent.sleep_s": 3.0, "preemptive.enabled": False,
              "caller.dialogue": "order_status", "caller.persona": "fluent"}  # fmt: skip
    found = levers(AGENT, calls=1, turns=3, settings=chosen, **QUIET)
    first = found.table.iloc[0]
    assert (first["lever"], first["owner"]) == (lever, "user's code")
    assert first["saving_s"] == pytest.approx(saving_s, abs=1e-3)
    reasons = found.skipped.set_index("lever")["reason"]
    assert "does not take it" in reasons["endpointing.min_delay_s"]
    called = found.results.turns["tool_calls"].any()
    assert ("tool calls" in reasons) != called


@pytest.mark.slow
def test_a_slow_stage_of_a_users_own_profile_comes_first_with_its_size(tmp_path: Path) -> None:
    # of all the TTS's voices, so that no other model is quicker
    profile = tmp_path / "own.toml"
    profile.write_text(
        f"[{SERVED['tts'][0][0]}.audio]\nleading_silence = {{median_s = 4.0, p95_s = 4.0, "
        'source = "planted", date = "2026-01-01"}\n'
    )
    # a doubting detector would cost as much, and callers who pause are often answered early
    chosen = {
        "caller.persona": "fluent",
        "profile": str(profile),
        "turn_detection": "vad",
        "preemptive.enabled": False,
    }
    found = levers("vanilla", calls=2, turns=2, settings=chosen, **QUIET)
    first = found.table.iloc[0]
    assert (first["lever"], first["owner"]) == ("silence leading the audio", "provider")
    assert first["saving_s"] == pytest.approx(2.0, abs=1e-3)


@pytest.mark.slow
def test_an_agent_that_answers_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to compare with"):
        levers("vanilla", calls=1, turns=1, settings={"turn_detection": "manual"}, **QUIET)
