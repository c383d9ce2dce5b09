"""A hair to either side of every threshold that a verdict, an outcome or a check rests on."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from handmade import make_turns
from hypothesis import given
from hypothesis import strategies as st

from labkit.engine.tables import Results
from labkit.evidence import claims
from labkit.evidence.anchors import AnchorError, _anchor
from labkit.evidence.anchors import load as load_anchors
from labkit.evidence.checks import MAX_RESIDUAL_S, CheckFailed, check
from labkit.evidence.claims import Claim, level_outcome, saving_outcome
from labkit.evidence.compare import compare
from labkit.evidence.overlap import combine, forecast, parts, predict
from labkit.evidence.paired import mean_savings, savings, waited, waits
from labkit.evidence.points import by_point
from labkit.evidence.prompt_cache import with_cache
from labkit.evidence.statistics import Estimate
from labkit.evidence.summary import metrics
from labkit.evidence.totals import per_turn
from labkit.evidence.verdict import Rules

NAN = float("nan")
EPS = 1e-6
# ------------------------------------------------------------------- claims


BAND = Claim("x", 0.2, 0.4)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.2, 0.4, claims.REPRODUCED), (0.2 - EPS, 0.3, claims.UNDECIDED),
        (0.3, 0.4 + EPS, claims.UNDECIDED), (0.05, 0.2 - EPS, claims.SAVES_LESS),
        (0.05, 0.2, claims.UNDECIDED), (0.4 + EPS, 0.6, claims.SAVES_MORE),
        (0.4, 0.6, claims.UNDECIDED), (-0.02 + EPS, 0.02 - EPS, claims.NO_EFFECT),
        (-0.02, 0.01, claims.SAVES_LESS), (0.0, 0.02, claims.SAVES_LESS),
        (-0.6, -0.4, claims.SAVES_LESS), (0.1, 0.5, claims.UNDECIDED),
        (NAN, NAN, claims.UNDECIDED),
    ],
)  # fmt: skip
def test_a_claimed_saving_of_200_to_400_ms(low: float, high: float, outcome: str) -> None:
    assert saving_outcome(Estimate(0.3, low, high, 9, 9), BAND) == outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.2, 0.4, claims.AS_CLAIMED), (0.1, 0.5, claims.UNDECIDED),
        (0.05, 0.2 - EPS, claims.FASTER), (0.05, 0.2, claims.UNDECIDED),
        (0.4 + EPS, 0.6, claims.SLOWER), (0.4, 0.6, claims.UNDECIDED),
        (0.0, 0.01, claims.FASTER), (NAN, NAN, claims.UNDECIDED),
    ],
)  # fmt: skip
def test_a_claimed_level_of_200_to_400_ms(low: float, high: float, outcome: str) -> None:
    assert level_outcome(Estimate(0.3, low, high, 9, 9), BAND) == outcome


def test_a_band_may_be_a_point_but_not_upside_down() -> None:
    assert Claim("x", 0.2, 0.2).low_s == 0.2
    with pytest.raises(ValueError, match=r"from 0\.3 s to 0\.2 s is empty"):
        Claim("x", 0.3, 0.2)


def test_the_bands_of_the_guide_are_the_ones_it_published() -> None:
    """12 techniques of Future AGI's guide, milliseconds at p95; see data/claims.toml."""
    known = {
        study: (round(c.low_s * 1000), round(c.high_s * 1000))
        for study, c in claims.load().items()
        if c.quantity == "saving" and "/" not in study and "12" in c.source
    }
    assert known["01_preemptive_generation"] == (200, 400)
    assert known["10_semantic_cache"] == (400, 800)
    assert known["12_regional_routing"] == (30, 80)
    assert all(c.quantile == 0.95 for c in claims.load().values() if "/" not in c.study)


def test_an_anchor_has_a_value_or_a_range() -> None:
    base = {"id": "a", "name": "A", "quantile": 0.5, "source": "s", "date": "2026"}
    point = _anchor({**base, "value_s": 0.4})
    assert (point.low_s, point.value_s, point.high_s) == (0.4, 0.4, 0.4)
    both = _anchor({**base, "value_s": 0.4, "low_s": 0.3, "high_s": 0.5})
    assert (both.low_s, both.high_s) == (0.3, 0.5)
    alone = _anchor({**base, "low_s": 0.3, "high_s": 0.5})
    assert alone.value_s is None
    with pytest.raises(AnchorError, match="needs value_s, or low_s and high_s"):
        _anchor({**base, "low_s": 0.3})
    with pytest.raises(AnchorError, match="'nobody'"):
        load_anchors("nobody")
    every = load_anchors()
    assert len(every) > 3
    assert [a.id for a in load_anchors(every[2].id, every[0].id)] == [every[2].id, every[0].id]


# ------------------------------------------------------------------- checks


def results(turns: pd.DataFrame, **call: object) -> Results:
    known = turns["call"].unique() if len(turns) else [0]
    calls = [{"call": c, "status": "ok", "error": "", "simulated_s": 60.0, **call} for c in known]
    return Results(turns, pd.DataFrame(calls))


def with_residual(value: float) -> Results:
    turns = make_turns(5, 4)
    turns.loc[3, "residual_s"] = value
    return results(turns)


@pytest.mark.parametrize(
    ("residual_s", "good"),
    [(0.005 - EPS, True), (-0.005 + EPS, True), (0.005, False), (-0.005, False), (0.3, False)],
)
def test_a_residual_of_5_ms_is_too_large_on_either_side(residual_s: float, good: bool) -> None:
    assert MAX_RESIDUAL_S == 0.005
    if good:
        shown = check(with_residual(residual_s))
        assert shown.loc["largest residual (ms)", "found"] == "4.999"
        return
    with pytest.raises(CheckFailed, match=r"largest residual \(ms\): .*below 5\), call 0 turn 3"):
        check(with_residual(residual_s))


@pytest.mark.parametrize(("n_calls", "good"), [(5, True), (4, False)])
def test_twenty_answered_turns_are_needed(n_calls: int, good: bool) -> None:
    turns = results(make_turns(n_calls, 4))
    if good:
        assert check(turns).loc["answered turns", "found"] == "20"
    else:
        with pytest.raises(CheckFailed, match=r"answered turns: 16 \(allowed: 20 at least\)"):
            check(turns)


@pytest.mark.parametrize("outcome", ["missed", "failed"])
@pytest.mark.parametrize(("allowed", "good"), [(0, False), (1, False), (2, True)])
def test_no_more_may_be_missed_than_is_allowed(outcome: str, allowed: int, good: bool) -> None:
    turns = make_turns(6, 4)
    turns.loc[[1, 6], "outcome"] = outcome
    turns.loc[[1, 6], "residual_s"] = NAN
    if good:
        assert check(results(turns), max_missed=allowed).loc["answered turns", "found"] == "22"
    else:
        with pytest.raises(CheckFailed, match=r"turns: 2 .*, call 0 turn 1, call 1 turn 2"):
            check(results(turns), max_missed=allowed)


def test_a_failed_call_is_never_allowed_and_named() -> None:
    turns = make_turns(6, 4)
    with pytest.raises(CheckFailed, match=r"failed calls: 6 .*call 0: it broke"):
        check(results(turns, status="failed", error="it broke"))
    with pytest.raises(CheckFailed, match="no turn was spoken, call 0: it broke"):
        check(results(turns.iloc[:0], status="failed", error="it broke"))


# ------------------------------------------------------------------- pairs


def pair(*rows: tuple[str, int, int, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["arm", "call", "turn", "outcome", "response_latency_s"])


def test_a_saving_is_the_baseline_less_the_arm_for_turns_that_both_answered() -> None:
    turns = pair(
        ("base", 0, 0, "answered", 2.0), ("base", 0, 1, "answered", 3.0),
        ("base", 1, 0, "missed", NAN), ("base", 2, 0, "answered", 4.0),
        ("a", 0, 1, "answered", 2.5), ("a", 0, 0, "answered", 2.25),
        ("a", 1, 0, "answered", 1.0), ("a", 2, 0, "premature", -1.0), ("a", 3, 0, "answered", 1.0),
    )  # fmt: skip
    found = savings(turns, "base")
    assert found[["call", "turn", "saved_s"]].to_numpy().tolist() == [[0, 1, 0.5], [0, 0, -0.25]]
    assert mean_savings(found, ["arm"])["saved_s"].tolist() == [0.125]
    with pytest.raises(ValueError, match="'bse'"):
        savings(turns, "bse")


def test_turns_are_paired_at_the_same_place_of_the_grid() -> None:
    turns = pd.concat([
        pair(("base", 0, 0, "answered", base), ("a", 0, 0, "answered", arm)).assign(at=at)
        for at, base, arm in ((1, 2.0, 1.5), (2, 5.0, 1.0))
    ])  # fmt: skip
    assert savings(turns, "base", ["at"]).set_index("at")["saved_s"].to_dict() == {1: 0.5, 2: 4.0}


@pytest.mark.parametrize(
    ("delay_s", "same"),
    [(0.5 - 0.0051, False), (0.5 - 0.0049, True), (0.5, True), (0.5 + 0.0049, True),
     (0.5 + 0.0051, False)],
)  # fmt: skip
def test_waits_within_5_ms_are_the_same(delay_s: float, same: bool) -> None:
    turns = pd.DataFrame({"sdk_end_of_turn_delay_s": [delay_s], "n_user_messages": [1]})
    assert waited(turns, 0.5).tolist() == [same]
    assert waits(turns, 0.5).tolist() == ["held back 500 ms" if same else "committed at once"]
    assert waits(turns.assign(n_user_messages=2), 0.5).tolist() == ["heard in pieces"]


def arms(base: list[tuple], arm: list[tuple]) -> pd.DataFrame:
    names = ["call", "turn", "outcome", "response_latency_s"]
    (found,) = compare(
        pd.DataFrame(base, columns=names), {"a": pd.DataFrame(arm, columns=names)}
    ).to_dict("records")
    return found


def test_a_comparison_is_paired_by_call_and_a_saving_is_positive() -> None:
    """Calls differ by seconds, the arms by 0.25 s in every call: no CI of a saving has a width.

    A rare change that 20 turns do not show could move a quantile farther; the simulations of
    ``test_coverage.py`` show how seldom an interval misses for that.
    """
    base = [(c, 0, "answered", 1.0 + c) for c in range(20)]
    found = arms(base, [(c, 0, "answered", 0.75 + c) for c in range(20)])
    for p in ("p50", "p95"):
        value, low, high = (found[f"saving_{p}{end}_s"] for end in ("", "_low", "_high"))
        assert low == value == high == 0.25
    assert (found["p50_s"], found["p95_s"]) == (9.75, 18.75)
    ends = [found[f"saving{end}_s"] for end in ("", "_low", "_high")]
    assert ends == pytest.approx([0.25] * 3)
    assert found["harm"] == 0 and (found["gain"], found["advice"]) == ("faster", "undecided")
    assert "harm undecided" in found["reason"], "twenty turns say little about harm"


def test_each_quantile_has_a_saving_of_its_own() -> None:
    """Twenty calls of 1 to 20 s; the last five are 2 s faster, which the median does not see."""
    base = [(c, 0, "answered", 1.0 + c) for c in range(20)]
    found = arms(base, [(c, 0, "answered", 1.0 + c - 2.0 * (c >= 15)) for c in range(20)])
    assert (found["saving_p50_s"], found["saving_p95_s"]) == (0.0, 2.0)
    assert found["saving_s"] == 0.5


@pytest.mark.parametrize(
    ("outcome", "harm"),
    [("premature", 0.1), ("missed", 0.1), ("failed", 0.1), ("interrupted", 0.0), ("answered", 0.0)],
)
def test_the_harm_of_an_arm_is_premature_or_no_reply(outcome: str, harm: float) -> None:
    base = [(c, 0, "answered", 1.0) for c in range(20)]
    found = arms(base, [(c, 0, outcome if c < 2 else "answered", 1.0) for c in range(20)])
    assert found["harm"] == pytest.approx(harm)
    assert (found["harm_rate"], found["baseline_harm_rate"]) == (pytest.approx(harm), 0.0)


def test_harm_may_be_any_column() -> None:
    base = make_turns(30, 4).assign(cost=2.0)
    arm = base.assign(cost=2.5, response_latency_s=base["response_latency_s"] - 0.3)
    (found,) = compare(base, {"a": arm}, harm="cost").to_dict("records")
    assert (found["harm"], found["harm_low"], found["harm_high"]) == (0.5, 0.5, 0.5)
    assert (found["gain"], found["harm_verdict"], found["advice"]) == (
        "faster",
        "more",
        "trade-off",
    )
    lenient = compare(base, {"a": arm}, harm="cost", rules=Rules(max_harm=0.6))
    assert lenient["advice"].tolist() == ["adopt"]
    with pytest.raises(KeyError, match="no column 'price'"):
        compare(base, {"a": arm}, harm="price")
    assert not len(compare(base, {"base": base}))


def test_a_rude_arm_gains_nothing_by_its_premature_replies() -> None:
    """Half of its replies come too early; the others are as late as those of the polite one."""
    polite = make_turns(30, 4)
    rude = polite.copy()
    early = rude["turn"] % 2 == 0
    rude.loc[early, "outcome"] = "premature"
    rude.loc[early, "response_latency_s"] = -1.5
    (found,) = compare(polite, {"rude": rude}).to_dict("records")
    assert (found["saving_s"], found["saving_p95_s"], found["n_pairs"]) == (0.0, 0.0, 60)
    assert found["p50_s"] > 1 and found["advice"] == "reject"
    (back,) = compare(rude, {"polite": polite}).to_dict("records")
    assert (back["saving_s"], back["harm_verdict"], back["advice"]) == (0.0, "less", "adopt")


def test_both_intervals_of_a_saving_are_given() -> None:
    """Speakers differ more than calls do: 8 calls of each of two, 0.1 and 0.3 s faster."""
    base = make_turns(16, 4).assign(voice=lambda t: np.where(t["call"] % 2, "x", "y"))
    faster = np.where(base["voice"] == "x", 0.1, 0.3)
    arm = base.assign(response_latency_s=base["response_latency_s"] - faster)
    (found,) = compare(base, {"a": arm}).to_dict("records")
    assert (found["saving_s"], found["n_speakers"]) == (pytest.approx(0.2), 2)
    by_call = found["saving_high_s"] - found["saving_low_s"]
    assert found["saving_speaker_high_s"] - found["saving_speaker_low_s"] > 10 * by_call > 0


def test_more_arms_make_every_interval_wider() -> None:
    rng, base = np.random.default_rng(1), make_turns(30, 4)
    noisy = {
        str(i): base.assign(response_latency_s=base["response_latency_s"] + rng.normal(0, 0.1, 120))
        for i in range(6)
    }
    alone = compare(base, {"0": noisy["0"]}).iloc[0]
    among = compare(base, noisy).iloc[0]
    assert alone["level"] == 0.95 < 0.98 < among["level"] < 0.995
    assert among["saving_low_s"] < alone["saving_low_s"] < alone["saving_s"] == among["saving_s"]


def test_an_arm_that_never_spoke_is_rejected_with_its_error() -> None:
    base = make_turns(5, 4)
    broken = results(base.iloc[:0], status="failed", error="no such model")
    (found,) = compare(base, {"a": broken}).to_dict("records")
    assert (found["advice"], found["n_turns"]) == ("reject", 0)
    assert found["reason"] == "it does not run: no such model"


# ------------------------------------------------------------------- the overlap model


PART = st.integers(0, 3000).map(lambda n: n / 1000)
NAMES = ("transcript_s", "commit_s", "hook_s", "llm_s", "sentence_s", "voice_s", "rest_s")


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, PART)))
def test_predictions_follow_the_formulas_of_the_module(p: dict[str, float]) -> None:
    of = pd.DataFrame([p])
    decided, thought = p["commit_s"] + p["hook_s"], p["llm_s"] + p["sentence_s"]
    early = p["transcript_s"] + thought
    expected = {
        "off": decided + thought + p["voice_s"] + p["rest_s"],
        "llm": max(decided, early) + p["voice_s"] + p["rest_s"],
        "tts": max(decided, early + p["voice_s"]) + p["rest_s"],
    }
    for mode, latency_s in expected.items():
        assert predict(of, mode).tolist() == pytest.approx([latency_s])
    assert expected["tts"] <= expected["llm"] + 1e-9
    if p["transcript_s"] <= decided:
        assert expected["llm"] <= expected["off"] + 1e-9


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ValueError, match=r"'stt'.*off, llm, tts"):
        predict(pd.DataFrame([dict.fromkeys(NAMES, 0.1)]), "stt")


def milestones(**change: object) -> pd.DataFrame:
    row = {
        "arm": "off", "call": 3, "turn": 1, "outcome": "answered", "served_model": "m",
        "at_caller_stopped_s": 10.0, "at_eager_s": NAN, "at_transcript_s": 10.2,
        "at_committed_s": 10.5, "at_hook_done_s": 10.53, "at_llm_first_token_s": 11.2,
        "at_tts_text_s": 11.31, "at_agent_audio_left_s": 11.57, "at_reply_heard_s": 11.88, **change,
    }  # fmt: skip
    return pd.DataFrame([row])


def test_the_parts_of_a_turn_are_its_milestones_apart() -> None:
    found = parts(milestones())
    assert found.index.tolist() == [(3, 1)]
    lengths = found.iloc[0].to_dict()
    expected = dict(zip(NAMES, (0.2, 0.5, 0.03, 0.67, 0.11, 0.26, 0.31), strict=True))
    assert lengths == pytest.approx(expected)
    assert predict(found, "off").tolist() == pytest.approx([1.88]), "they add up to the latency"


def test_an_eager_end_stands_for_the_transcript_and_no_model_takes_no_time() -> None:
    assert parts(milestones(at_eager_s=10.1))["transcript_s"].tolist() == pytest.approx([0.1])
    canned = milestones(served_model="", at_llm_first_token_s=NAN, at_tts_text_s=NAN)
    found = parts(canned).iloc[0]
    assert (found["llm_s"], found["sentence_s"]) == (0.0, 0.0)
    assert found["voice_s"] == pytest.approx(11.57 - 10.53)
    assert not len(parts(milestones(at_llm_first_token_s=NAN))), "a model was asked: unknown"
    assert not len(parts(milestones(outcome="interrupted")))


def test_changes_add_up_part_by_part_and_no_part_becomes_negative() -> None:
    base, index = parts(milestones()), pd.MultiIndex.from_tuples([(3, 1)], names=["call", "turn"])
    one = base.assign(llm_s=0.2, commit_s=0.3)
    other = base.assign(llm_s=0.1, rest_s=0.1)
    both = combine(base, {"one": one, "other": other}).iloc[0]
    assert both["llm_s"] == 0.0  # 0.67 - 0.47 - 0.57
    assert both["commit_s"] == pytest.approx(0.3)
    assert both["rest_s"] == pytest.approx(0.1)
    elsewhere = base.set_index(index.set_levels([[3], [2]]))
    assert not len(combine(base, {"one": one, "elsewhere": elsewhere}))


def test_a_forecast_is_made_of_the_baseline_at_every_place() -> None:
    turns = pd.concat([
        milestones(at=1.0), milestones(at=2.0, at_committed_s=10.6, at_hook_done_s=10.63),
        milestones(at=1.0, arm="another"),
    ])  # fmt: skip
    found = forecast(turns, "off", ["at"], {"half": lambda of: of["commit_s"] / 2})
    rows = found[["call", "turn", "saved_s", "arm", "at"]].to_numpy().tolist()
    assert rows == [
        [3, 1, pytest.approx(0.25), "half", 1.0],
        [3, 1, pytest.approx(0.3), "half", 2.0],
    ]
    (alone,) = forecast(turns.iloc[:1], "off", [], {"all": lambda of: of["commit_s"]})["saved_s"]
    assert alone == pytest.approx(0.5)


# ------------------------------------------------------------------- tables


def test_what_a_turn_adds_to_a_running_total() -> None:
    turns = pd.DataFrame({
        "arm": ["a"] * 4 + ["b"] * 2, "links.x.rtt_s": [NAN] * 6, "call": [0, 0, 0, 1, 0, 0],
        "total": [NAN, 3.0, 5.0, 7.0, 2.0, NAN],
    })  # fmt: skip
    assert per_turn(turns, "total").tolist() == [0.0, 3.0, 2.0, 7.0, 2.0, 0.0]
    assert per_turn(turns.assign(call=0), "total").tolist() == [0.0, 3.0, 2.0, 2.0, 2.0, 0.0]
    swept = turns.assign(**{"links.x.rtt_s": [1, 1, 2, 2, 1, 1]}, call=0)
    assert per_turn(swept, "total").tolist() == [0.0, 3.0, 5.0, 2.0, 2.0, 0.0]
    assert per_turn(turns, "nobody logged it").tolist() == [0.0] * 6


def test_what_a_prompt_cache_did() -> None:
    turns = pd.DataFrame([{
        "llm_prompt_tokens": 300, "llm_cached_tokens": 120, "llm_calls": 2, "turn": 0,
        "sdk_llm_node_ttft_s": 0.4,
    }])  # fmt: skip
    (found,) = with_cache(turns).to_dict("records")
    assert (found["hit_share"], found["fresh_tokens"]) == (0.4, 90.0)
    assert (found["turn_number"], found["first_token_s"]) == (1, 0.4)


def swept() -> Results:
    """Two arms at two places, one unset; two calls of one point failed before their first turn."""
    turns, calls = [], []
    for n, (arm, at) in enumerate((arm, at) for arm in ("a", "b") for at in (NAN, 0.5)):
        own = make_turns(4, 2, faster_s=0.1 * n, premature_calls=n).assign(arm=arm, at=at)
        turns.append(own)
        calls += [
            {"arm": arm, "at": at, "call": c, "status": "ok", "error": "", "replay": "", "n": n}
            for c in range(4)
        ]
    for call, error in ((4, "it broke"), (5, "it broke again")):
        calls.append({"arm": "b", "at": 0.5, "call": call, "status": "failed", "error": error})
    return Results(pd.concat(turns, ignore_index=True), pd.DataFrame(calls))


def test_every_point_of_a_sweep_is_a_row() -> None:
    found = by_point(swept(), ["at"])
    assert list(zip(found["arm"], found["at"].isna(), strict=True)) == [
        ("a", True), ("a", False), ("b", True), ("b", False)
    ]  # fmt: skip
    assert found["n_calls"].tolist() == [4, 4, 4, 6]
    assert found["failed_calls"].tolist() == [0, 0, 0, 2]
    assert found["error"].tolist() == ["", "", "", "it broke"]
    assert found["n_turns"].tolist() == [8] * 4
    # n of the eight turns are premature: they have no latency
    assert found["p50_s"].tolist() == pytest.approx([1.15, 1.15, 1.05, 0.95])
    assert found["p95_s"].tolist() == pytest.approx([1.25, 1.15, 1.05, 0.95])
    assert found["harm"].tolist() == pytest.approx([0, 1 / 8, 2 / 8, 3 / 8])


def test_the_figures_of_a_run_are_those_of_its_tables() -> None:
    turns = make_turns(5, 4).assign(llm_cached_tokens=3)
    for i, outcome in enumerate(("premature", "premature", "interrupted", "missed", "failed")):
        turns.loc[i, "outcome"] = outcome
    turns.loc[0, "response_latency_s"] = -3.0
    turns.loc[7, "residual_s"] = -0.004
    found = metrics(results(turns))
    rates = [
        found[f"{o}_rate"] for o in ("answered", "premature", "interrupted", "missed", "failed")
    ]
    assert rates == [0.75, 0.1, 0.05, 0.05, 0.05]
    assert found["cut_in_rate"] == 0.1
    assert found["p50_s"] == pytest.approx(1.35)
    assert found["p99_s"] == found["p95_s"] == pytest.approx(1.45)
    assert found["p50_ci_s"][0] <= found["p50_s"] <= found["p50_ci_s"][1]
    assert found["residual_s"] == 0.004
    assert found["stages_s"]["vad_silence_s"] == pytest.approx(0.3)
    assert found["usd_per_turn"] == pytest.approx(0.002)
    assert found["llm_cached_tokens_per_turn"] == 3
    assert (found["n_turns"], found["n_calls"], found["failed_calls"]) == (20, 5, 0)
    assert found["simulated_s"] == 300.0
    json.dumps(found, allow_nan=False)


def test_a_run_without_turns_has_no_figures() -> None:
    empty = make_turns(1, 1).iloc[:0]
    found = metrics(results(empty, status="failed", error="it broke"))
    assert found["p50_s"] is None and found["p50_ci_s"] == [None, None]
    assert found["answered_rate"] is None and found["residual_s"] is None
    assert (found["stages_s"], found["failed_calls"]) == ({}, 1)
