"""Study 02: tokens streamed into TTS, and the most that an earlier first sentence could save."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence import overlap, paired, statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import by_arm, compare
from labkit.evidence.sequential import Judge
from labkit.evidence.units import ms, ms_ci, percent_ci
from labkit.evidence.verdict import Rules
from labkit.report import figures, verdicts
from labkit.report.figures import Chart
from labkit.report.harms import What
from labkit.report.tables import titled
from labkit.settings.roles import figure

BOUND = "no wait for a sentence (bound)"

PREEMPTION = "preemptive.enabled"
RATE = figure("llm", "tokens_per_s")

_HARMS: dict[str, What] = {
    "long silences": "long_gap",
    "longest silence": "reply_gap_s",
    "not heard out": "unfinished",
    "TTS requests": "tts_requests",
}


def arms(short_sentence: int) -> dict[str, str]:
    """The arms, from a reply that is buffered whole to an opener that is flushed.

    ``short_sentence`` is the length of the shortest sentence spoken on its own, characters.
    """
    short = f"agent.min_sentence_len={short_sentence}"
    return {
        "buffered": "token_streaming@agent.variant=buffered",
        "default": "vanilla",
        "short sentences": f"token_streaming@{short}",
        "opener": "token_streaming@agent.variant=opener",
        "opener, short sentences": f"token_streaming@agent.variant=opener,{short}",
        "opener, flushed": "token_streaming@agent.variant=flushed",
    }


def swept(short_sentence: int) -> dict[str, str]:
    """The arms that are run at each token rate."""
    wanted = ("buffered", "default", "opener, short sentences", "opener, flushed")
    known = arms(short_sentence)
    return {name: known[name] for name in wanted}


def marked(turns: pd.DataFrame, long_s: float) -> pd.DataFrame:
    """The turns with ``long_gap`` (silence inside the reply over ``long_s``) and ``unfinished``."""
    return turns.assign(
        long_gap=turns["reply_gap_s"] > long_s, unfinished=turns["reply_right"] == 0
    )


def judge(long_s: float) -> Judge:
    """Compares the default with a buffered reply, and all others with the default."""

    def compared(results: Results, rules: Rules) -> pd.DataFrame:
        arms = by_arm(marked(results.turns, long_s))
        buffered, default = arms.pop("buffered"), arms.pop("default")
        streamed = compare(buffered, {"default": default}, harm="long_gap", rules=rules)
        beyond = compare(default, arms, harm="long_gap", rules=rules)
        return pd.concat([streamed, beyond], ignore_index=True)

    return compared


def verdict_rows(comparison: pd.DataFrame, claim: Claim, long_s: float) -> pd.DataFrame:
    """Verdicts on what a :func:`judge` found; only streaming itself is claimed."""
    harm = f"replies with a silence over {ms(long_s)} ms"
    return verdicts.rows(comparison, claim={"default": claim}, harm=harm)


def harms(turns: pd.DataFrame) -> Chart:
    """What the tuned arms cost against the default."""
    arms = by_arm(turns)
    arms.pop("buffered")
    return figures.harms(arms.pop("default"), arms, _HARMS)


def against_rate(turns: pd.DataFrame) -> Chart:
    """Mean savings against the token rate, with preemption on and off."""
    points = against(turns, "default", RATE)
    return figures.lines(
        points, RATE, "saved_s", "arm", "preemption", x_name="speed of the LLM, tokens",
        y_name="mean saving compared with the default",
    )  # fmt: skip


def silence(turns: pd.DataFrame, default_rate: float) -> Chart:
    """The longest silence inside replies against the token rate, with preemption on."""
    return figures.swept(
        turns[turns[PREEMPTION].astype(bool)], RATE, "reply_gap_s", "arm", q=None,
        x_name="speed of the LLM, tokens", y_name="longest silence inside a reply, mean",
        default=default_rate,
    )  # fmt: skip


def bound(turns: pd.DataFrame, baseline: str, axes: Sequence[str], mode: str) -> pd.DataFrame:
    """What each turn would save if its first sentence were complete with its first token.

    Returns what :func:`labkit.evidence.overlap.forecast` does, for the arm :data:`BOUND`; ``mode``
    is one of :data:`labkit.evidence.overlap.MODES`.
    """

    def saving(of: pd.DataFrame) -> pd.Series:
        return overlap.predict(of, mode) - overlap.predict(of.assign(sentence_s=0.0), mode)

    return overlap.forecast(turns, baseline, axes, {BOUND: saving})


def against(turns: pd.DataFrame, baseline: str, x: str) -> pd.DataFrame:
    """Mean savings at each value of a swept setting, with and without preemption.

    Returns:
        One row per ``preemption``, arm and value: ``saved_s``, ``low``, ``high``, ``n_turns``; the
        last arm is :data:`BOUND`.
    """
    axes = [PREEMPTION, x]
    late = turns[~turns[PREEMPTION].astype(bool)]
    both = pd.concat([
        paired.savings(turns, baseline, axes),
        bound(late, baseline, axes, "off"),
        bound(late, baseline, axes, "llm").assign(**{PREEMPTION: True}),
    ])  # fmt: skip
    points = paired.mean_savings(both, [PREEMPTION, "arm", x], sort=False)
    on = points.pop(PREEMPTION).astype(bool)
    points.insert(0, "preemption", on.map({True: "preemption on", False: "preemption off"}))
    return points


def gaps(turns: pd.DataFrame, long_s: float) -> pd.DataFrame:
    """Silence inside replies, long from ``long_s`` on, and what they took from the TTS, by arm."""
    rows = {}
    for arm, own in by_arm(turns).items():
        known = own[own["reply_gap_s"].notna()]
        rows[arm] = {
            "longest silence, median (ms)": ms_ci(statistics.quantile(known, 0.5, "reply_gap_s")),
            "the longest of all (ms)": ms(float(known["reply_gap_s"].max())),
            f"replies with one over {ms(long_s)} ms": percent_ci(
                statistics.rate(known, known["reply_gap_s"] > long_s)
            ),
            "TTS requests per turn": f"{own['tts_requests'].mean():.2f}",
            "TTS characters per turn": f"{own['tts_characters'].mean():.0f}",
        }
    return titled(pd.DataFrame(rows).T)
