"""Time put into one part of a real call at a time: what moved, against what the stages foretold.

Each arm hears the same callers with the same random draws as its baseline and differs from it in
one part, by 50 or by 400 ms. Of that part's stage the tables say how long it is and how much slack
it has; so the latency must move by what exceeds the slack, to the millisecond.

Turns are left out in which the longer part made the agent do something else: decide on another
number of commits (a transcript that comes after the commit is a second user message), give another
answer (to words that came too late for the turn before), or find a connection closed that had been
open. What they cost is real, and is shown in other stages.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from labkit.engine.experiment import Experiment
from labkit.engine.sweep import sweep
from labkit.evidence.checks import MAX_RESIDUAL_S
from labkit.measure.stages import STAGES

pytestmark = pytest.mark.slow

AGENT = str(Path(__file__).parents[1] / "agents" / "slow_hook.py")
FINAL = "providers.deepgram.models.nova-3.final"
TTFT = "providers.openai.models.gpt-4o-mini.first_token"
PACE = "providers.openai.models.gpt-4o-mini.tokens_per_s"
TTFB = "providers.cartesia.models.sonic-3.first_audio"
SILENCE = "providers.cartesia.audio.leading_silence"
# constant, so that a part grows by what is put into it and by nothing else
BASE = {
    "caller.persona": "fluent",
    FINAL: 0.15,
    TTFT: 0.5,
    TTFB: 0.15,
    SILENCE: 0.18,
    "links.caller.rtt_s": 0.04,
}
MODES = {
    "preemption off": {"preemptive.enabled": False},
    "preemptive LLM": {"preemptive.enabled": True},
    "preemptive TTS": {"preemptive.enabled": True, "preemptive.tts": True},
}
ADDED_S = (0.05, 0.4)
TOLERANCE_S = 0.001
# part: the setting, its value in the baseline, and the stages that it lengthens
PARTS = {
    "STT final": (FINAL, 0.15, ["transcript_s"]),
    "STT link": ("links.deepgram.rtt_s", 0.03, ["stt_network_s"]),
    "VAD silence": ("vad.min_silence_s", 0.25, ["vad_silence_s"]),
    "turn detector": ("compute.eot_s", 0.083, ["turn_detector_s"]),
    "endpointing delay": ("endpointing.min_delay_s", 0.3, ["endpointing_s"]),
    "hook": ("agent.hook_s", 0.0, ["hook_s"]),
    "LLM TTFT": (TTFT, 0.5, ["llm_ttft_s"]),
    "LLM link": ("links.openai.rtt_s", 0.03, ["llm_network_s"]),
    "tokens": (PACE, 59.0, ["first_sentence_s"]),
    "TTS TTFB": (TTFB, 0.15, ["tts_ttfb_s"]),
    "TTS link": ("links.cartesia.rtt_s", 0.03, ["tts_network_s"]),
    "leading silence": (SILENCE, 0.18, ["leading_silence_s"]),
    "line": ("links.caller.rtt_s", 0.04, ["uplink_s", "downlink_s"]),
}
EARLY_TTS = ("hook", "LLM TTFT", "tokens", "TTS TTFB")


def longer(part: str, added_s: float) -> dict[str, float]:
    """The setting that makes a part longer."""
    name, value, _ = PARTS[part]
    return {name: value / (1 + 4 * added_s) if part == "tokens" else value + added_s}


def cases(*modes: str) -> list[tuple[str, str, float]]:
    """Each mode, part and length to be put in; with the TTS early, only what is then parallel."""
    return [
        (mode, part, added_s)
        for mode in modes or MODES
        for part in (EARLY_TTS if mode == "preemptive TTS" else PARTS)
        for added_s in ADDED_S
    ]


@pytest.fixture(scope="module")
def turns() -> dict[str, pd.DataFrame]:
    """The turns of every arm, by its name."""
    points: list[dict[str, object]] = []
    for mode, chosen in MODES.items():
        points.append(chosen | {"agent.case": mode})
        for _, part, added_s in cases(mode):
            case = {"agent.case": f"{mode}, {part} {added_s}"}
            points.append(chosen | longer(part, added_s) | case)
    results = sweep(
        Experiment({"slow hook": AGENT}, settings=BASE, points=points, calls=2, turns=4, seed=3)
    )
    assert not len(results.failed), results.failed["error"].tolist()
    return dict(list(results.turns.groupby("agent.case")))


def paired(turns: dict[str, pd.DataFrame], mode: str, part: str, added_s: float) -> pd.DataFrame:
    """Turns that went alike, side by side: ``grown_s``, ``slack_s``, ``moved_s`` and all else."""
    before, after = turns[mode], turns[f"{mode}, {part} {added_s}"]
    both = before.merge(after, on=["call", "turn"], suffixes=("", "_2"), validate="1:1")
    alike = both["residual_s"].notna() & both["residual_s_2"].notna()
    for name in ("n_user_messages", "llm_prompt_tokens", "llm_cold", "tts_cold"):
        alike &= both[name] == both[f"{name}_2"]
    if part == "LLM link":
        alike &= ~both["llm_cold"]  # a handshake is so many further round trips
    names = PARTS[part][2]
    if part == "VAD silence":
        # the SDK's guess when speech ended, from which its delay counts, moves by part of a window
        alike &= (both["endpointing_s"] == 0) & (both["endpointing_s_2"] == 0)
    both = both[alike]
    grown = [both[f"length_{n}_2"] - both[f"length_{n}"] for n in names]
    return both.assign(
        grown_s=sum(grown),
        slack_s=both[f"slack_{names[0]}"],
        moved_s=both["response_latency_s_2"] - both["response_latency_s"],
    )


@pytest.mark.parametrize(("mode", "part", "added_s"), cases())
def test_the_latency_moves_by_what_exceeds_the_slack(
    turns: dict[str, pd.DataFrame], mode: str, part: str, added_s: float
) -> None:
    both = paired(turns, mode, part, added_s)
    assert len(both) >= (1 if part == "VAD silence" else 2)
    moved_s, grown_s, slack_s = both["moved_s"], both["grown_s"], both["slack_s"]
    assert same(moved_s, (grown_s - slack_s).clip(lower=0))
    name = PARTS[part][2][0]
    if part != "line":  # its two stages have no slack
        eaten_s = slack_s - both[f"slack_{name}_2"]
        # whether text waited for a socket that was opened for it is only known to 2 ms
        warm = ~both["tts_cold"]
        assert same((moved_s + eaten_s)[warm], grown_s[warm])
    # had the stage taken no time, at least what it has just added would have been saved
    assert (both[f"drag_{name}_2"] >= moved_s / len(PARTS[part][2]) - TOLERANCE_S).all()
    on_path = (slack_s == 0) & (both[f"slack_{name}_2"] == 0)
    on_path_s = sum((both[f"{n}_2"] - both[n] for n in PARTS[part][2]), moved_s * 0)
    assert same(on_path_s[on_path], grown_s[on_path])


@pytest.mark.parametrize(("mode", "part", "added_s"), cases())
def test_a_stage_grows_by_what_was_put_into_its_part(
    turns: dict[str, pd.DataFrame], mode: str, part: str, added_s: float
) -> None:
    both = paired(turns, mode, part, added_s)
    grown_s = both["grown_s"]
    if part == "VAD silence":  # it looks at 50 ms frames
        assert (grown_s - added_s).abs().max() <= 0.05 + TOLERANCE_S
    elif part == "tokens":  # of more tokens more
        slower = 1 + 4 * added_s
        assert same(both["length_first_sentence_s_2"], slower * both["length_first_sentence_s"])
    elif (part, added_s) == ("TTS link", 0.4):  # the first flight of packets may be silent
        assert (grown_s >= added_s - TOLERANCE_S).all()
    elif part == "endpointing delay":  # not where the detector doubted: that is the other delay
        assert set(grown_s.round(3)) <= {0.0, added_s} and (grown_s > 0).any()
    else:
        assert same(grown_s, grown_s * 0 + added_s)


@pytest.mark.parametrize("added_s", ADDED_S)
def test_a_hook_is_seen_as_long_as_it_is_and_costs_what_it_costs(
    turns: dict[str, pd.DataFrame], added_s: float
) -> None:
    both = paired(turns, "preemptive LLM", "hook", added_s)
    assert same(both["length_hook_s_2"], both["length_hook_s_2"] * 0 + added_s)
    assert same(both["drag_hook_s_2"], both["moved_s"])
    assert (both["moved_s"] < added_s - TOLERANCE_S).any(), "part of it was hidden"


def test_in_every_arm_the_stages_sum_to_the_latency(turns: dict[str, pd.DataFrame]) -> None:
    for arm, table in turns.items():
        known = table[table["residual_s"].notna()]
        assert len(known) >= 6, arm
        assert known["residual_s"].abs().max() < MAX_RESIDUAL_S, arm
        sums_s = known[list(STAGES)].sum(axis=1)
        assert same(sums_s, known["response_latency_s"]), arm


@pytest.mark.parametrize("early", [False, True])
def test_a_tool_that_runs_longer_moves_the_latency_by_as_much(early: bool) -> None:
    places = [{"agent.tool_s": 0.3 + added_s} for added_s in (0.0, *ADDED_S)]
    chosen = BASE | {"preemptive.enabled": early, "agent.prefetch": "none"}
    chosen |= {"caller.dialogue": "order_status"}  # two of its first turns call a tool
    results = sweep(
        Experiment({"desk": "tool_prefetch"}, settings=chosen, points=places, calls=1, turns=4)
    )
    base, *more = (t for _, t in results.turns.groupby("agent.tool_s"))
    for added_s, table in zip(ADDED_S, more, strict=True):
        both = base.merge(table, on=["call", "turn"], suffixes=("", "_2"))
        both = both[both["length_tools_s"] > 0]
        assert len(both) == 2 and (both["slack_tools_s"] == 0).all()
        assert same(both["length_tools_s"], both["length_tools_s"] * 0 + 0.3)
        assert same(both["tools_s_2"] - both["tools_s"], both["tools_s"] * 0 + added_s)
        moved_s = both["response_latency_s_2"] - both["response_latency_s"]
        assert same(moved_s, moved_s * 0 + added_s)


def same(found: pd.Series, expected: pd.Series) -> bool:
    return bool(((found - expected).abs() <= TOLERANCE_S).all())
