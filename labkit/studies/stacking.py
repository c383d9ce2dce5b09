"""Study 16: do savings stack? Which techniques are adopted, and what adds up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import overlap, statistics
from labkit.evidence.additivity import ALL, SUM, additivity
from labkit.evidence.checks import check
from labkit.evidence.claims import Claim
from labkit.evidence.compare import compare, harmed
from labkit.evidence.summary import OUTCOMES
from labkit.evidence.units import Unit, ms, percent
from labkit.evidence.verdict import Rules
from labkit.report import verdicts
from labkit.report.dots import Dot, dots
from labkit.report.figures import Chart
from labkit.report.palette import looks
from labkit.report.saving import ends, records
from labkit.report.tables import titled
from labkit.report.turn_taking import PERSONA
from labkit.settings.roles import figure

DEFAULTS = "defaults"
NO_PREEMPTION = {"preemptive.enabled": False}

_MS = Unit("", 1000.0, "ms")
_WITHOUT = "without "
_MODES = {"preemptive_tts": "tts"}
"""What a technique starts before the commit, where that is not the default's ``llm``."""


def stack(techniques: Iterable[str], **settings: object) -> Arm:
    """The arm that uses these techniques and nothing else."""
    return Arm("stacked", {"agent.techniques": "+".join(techniques) or "none", **settings})


def singles(techniques: Sequence[str], **settings: object) -> dict[str, str | Arm]:
    """The defaults, and one arm for each technique alone."""
    return {
        DEFAULTS: Arm("vanilla", settings),
        **{name: stack([name], **settings) for name in techniques},
    }


def alone(techniques: Sequence[str]) -> dict[str, str | Arm]:
    """The defaults, the guide's stack as its listing has it and repaired, and :func:`singles`."""
    published = {
        "as published": Arm("stacked-as-published"),
        "as published, repaired": Arm("stacked-as-published", {"agent.repaired": True}),
    }
    return {**singles([]), **published, **singles(techniques)}


def combinations(techniques: Sequence[str]) -> dict[str, str | Arm]:
    """The defaults, all techniques together (which may be none), and all but one of them."""
    rest = {f"{_WITHOUT}{n}": stack(t for t in techniques if t != n) for n in techniques}
    together = {DEFAULTS: Arm("vanilla"), ALL: stack(techniques)}
    return {**together, **(rest if len(techniques) > 1 else {})}


def pairs(techniques: Sequence[str]) -> dict[str, str | Arm]:
    """The defaults, each technique alone, and each two together."""
    two = {f"{a}+{b}": stack([a, b]) for a, b in itertools.combinations(techniques, 2)}
    return {**singles(techniques), **two}


def speeds(techniques: Sequence[str], quick_ttft_s: float) -> dict[str, Arm]:
    """The defaults and a stack, with the usual LLM and with a quicker one."""
    quick = {figure("llm", "first_token"): quick_ttft_s}
    return {
        "usual model, defaults": Arm("vanilla"),
        "usual model, stacked": stack(techniques),
        "quick model, defaults": Arm("vanilla", quick),
        "quick model, stacked": stack(techniques, **quick),
    }


def check_each(results: Results, arms: Sequence[str], min_turns: int, max_missed: float) -> None:
    """Checks some arms one by one, or raises CheckFailed; the others may answer nothing."""
    for arm in arms:
        own = results.arms[arm]
        check(own, min_turns=min_turns, max_missed=round(max_missed * len(own.turns)))


def judged(results: Results) -> dict[str, pd.DataFrame]:
    """Each arm's turns with ``wrong`` (another answer than the right one) and ``harmed``.

    A turn is harmed whose reply was premature, missing or wrong.
    """
    return {name: _judged(arm.turns) for name, arm in results.arms.items()}


def _judged(turns: pd.DataFrame) -> pd.DataFrame:
    wrong = turns["reply_right"] == 0
    return turns.assign(wrong=wrong.astype(float), harmed=(harmed(turns) | wrong).astype(float))


def compared(arms: Mapping[str, pd.DataFrame], rules: Rules) -> dict[float | None, pd.DataFrame]:
    """Comparisons with the defaults that rest on the p95, the median and the mean (None)."""
    return {
        q: compare(arms[DEFAULTS], arms, harm="harmed", q=q, rules=rules) for q in (0.95, 0.5, None)
    }


def adopted(techniques: Sequence[str], comparisons: Iterable[pd.DataFrame]) -> list[str]:
    """The techniques that earned their place: once *adopt* at least, and never *reject*."""
    verdicts = pd.DataFrame({i: c.set_index("arm")["verdict"] for i, c in enumerate(comparisons)})
    good = (verdicts == "adopt").any(axis=1) & (verdicts != "reject").all(axis=1)
    return [name for name in techniques if good[name]]


def kept(together: pd.DataFrame, techniques: Sequence[str]) -> tuple[str, list[str]]:
    """The stack to recommend: all techniques, or all but one if together they harm more.

    Returns:
        The arm and its techniques: of those that do not significantly more harm than the defaults
        all, or else the one that saves most at p95; :data:`DEFAULTS` if there is none.
    """
    arms = together.set_index("arm")
    harmless = arms[arms["harm_low"] <= 0]
    if ALL in harmless.index:
        return ALL, list(techniques)
    others = harmless[harmless.index.str.startswith(_WITHOUT)]
    if not len(others):
        return DEFAULTS, []
    name = str(others["saving_p95_s"].idxmax())
    return name, [t for t in techniques if t != name.removeprefix(_WITHOUT)]


def predicted(
    first: Results, second: Results, parts: Results, techniques: Sequence[str]
) -> pd.DataFrame:
    """Savings by :func:`labkit.evidence.additivity.additivity`, from the study's runs."""
    of = {name: overlap.parts(arm.turns) for name, arm in parts.arms.items()}
    alone = {name: first.arms[name].turns for name in of}
    return additivity(DEFAULTS, alone, second.arms[ALL].turns, of, techniques, _MODES)


def sums(table: pd.DataFrame) -> Chart:
    """Draws what :func:`predicted` returned: mean savings as measured, and by the overlap model."""
    shown = []
    for row in records(table):
        name = str(row["arm"])
        forecast = (row["predicted_s"], math.nan, math.nan)
        measured = ends(row, "measured", "_s")
        shown.append(Dot(name, "measured, 95% CI", measured, looks(0), note=ms(measured[0])))
        shown.append(Dot(name, "predicted by the overlap model", forecast, looks(3), filled=False))
    return Chart(dots(shown, "mean saving per turn"), table)


def short_turns(arms: Mapping[str, pd.DataFrame], claim: Claim) -> Chart:
    """Draws p50 and p95 of short turns (acknowledgements) and of the others, for each arm.

    The upper end of the level claimed for short turns is drawn.
    """
    rows, shown = [], []
    for name, turns in arms.items():
        short = turns["kind"] == "acknowledgement"
        for k, (label, part) in enumerate((("short", turns[short]), ("other", turns[~short]))):
            row: dict[str, Any] = {"arm": name, "turns": label, "n_turns": len(part), **_harm(part)}
            at = f"{name}: {label}, {percent(row['harm'])} harmed"
            for p, q in (("p50", 0.5), ("p95", 0.95)):
                e = statistics.quantile(part, q)
                row |= e.columns(p, "_s")
                at_s = (e.value, e.low, e.high)
                shown.append(Dot(at, f"{label} turns, {p}", at_s, looks(k), p == "p50"))
            rows.append(row)
    ax = dots(shown, "response latency", claimed_s=(claim.high_s, claim.high_s),
              claimed=f"claimed for short turns: {ms(claim.high_s)}")  # fmt: skip
    return Chart(ax, pd.DataFrame(rows))


def levels(results: Results, claim: Claim) -> pd.DataFrame:
    """How fast each arm answers each kind of caller, and whether that lies in a claimed band.

    Returns:
        ``arm``, ``persona``, ``quantile``, ``latency_s`` with its interval, ``n_turns`` that were
        answered, ``reached`` (whether the latency is no higher than the band's upper end), and the
        proportion of harmed turns with its interval.
    """
    rows = []
    for (arm, persona), turns in results.turns.groupby(["arm", PERSONA], sort=False):
        e = statistics.quantile(turns, claim.quantile)
        rows.append({
            "arm": arm, "persona": persona, "quantile": claim.quantile,
            **e.columns("latency", "_s"), "n_turns": e.n, "reached": e.value <= claim.high_s,
            **_harm(_judged(turns)),
        })  # fmt: skip
    return pd.DataFrame(rows)


def band(table: pd.DataFrame, claim: Claim) -> Chart:
    """Draws what :func:`levels` returned beside the claimed band."""
    personas = list(dict.fromkeys(table["persona"]))
    shown = [
        Dot(row["arm"], f"{row['persona']} callers", ends(row, "latency", "_s"),
            looks(personas.index(row["persona"])),
            note=f"{ms(row['latency_s'])}, {percent(row['harm'])} harmed")
        for row in records(table)
    ]  # fmt: skip
    p = f"p{100 * claim.quantile:g}"
    ax = dots(shown, f"{p} of the response latency", claimed_s=(claim.low_s, claim.high_s))
    return Chart(ax, table)


def outcomes(arms: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How the turns of each arm ended, and what they cost, for reading."""
    table = pd.DataFrame({
        name: {
            "turns": str(len(turns)),
            **{o: percent(float((turns["outcome"] == o).mean())) for o in OUTCOMES},
            "wrong reply": percent(float(turns["wrong"].mean())),
            "LLM calls per turn": f"{turns['llm_calls'].mean():.2f}",
            "LLM tokens never spoken": f"{turns['llm_wasted_tokens'].mean():.1f}",
            "US cents per turn": f"{100 * turns['usd'].mean():.2f}",
        }
        for name, turns in arms.items()
    })  # fmt: skip
    return titled(table.T)


def read_adopted(techniques: Sequence[str], chosen: Sequence[str]) -> str:
    """A sentence that names what earned its place and what did not."""
    rest = [name for name in techniques if name not in chosen]
    text = f"Adopted: **{', '.join(chosen) or 'none'}**."
    return f"{text} Not adopted: {', '.join(rest)}." if rest else text


def read_promises(together: pd.DataFrame, best: str, techniques: Sequence[str]) -> str:
    """Whether stacks are as fast as the defaults at p95, do no more harm, and what to recommend."""
    lines = []
    for row in records(together[together["arm"].isin([ALL, best])]):
        harm = f"{100 * row['harm_low']:+.1f} to {100 * row['harm_high']:+.1f}"
        fast = "at least as fast as" if row["saving_p95_s"] >= 0 else "slower than"
        worse = "significantly" if row["harm_low"] > 0 else "not significantly"
        lines.append(
            f"**{row['arm']}** is at p95 {fast} the plain defaults: it saves "
            f"{_ms(row, 'saving_p95')}. It harms {worse} more turns "
            f"than they do ({percent(row['baseline_harm_rate'])} there; a change of {harm} points)."
        )
    return "\n\n".join([*lines, f"To recommend: **{', '.join(techniques) or 'none'}**."])


def read_sums(table: pd.DataFrame) -> str:
    """A sentence that compares the stacked saving with the sum of the single ones."""
    rows = {row["arm"]: row for row in records(table)}
    total, stacked = (_ms(rows[name], "measured") for name in (SUM, ALL))
    return (
        f"On {rows[ALL]['n_turns']} turns that all arms answered, the single savings of what was "
        f"adopted add up to a mean of {total}; all of it together saves {stacked}. The overlap "
        f"model predicts {ms(rows[SUM]['predicted_s'])} and {ms(rows[ALL]['predicted_s'])} ms."
    )


def read_band(table: pd.DataFrame, claim: Claim) -> str:
    """Sentences that say plainly under which model and callers the band is reached."""
    lines = [
        f"The published band is {ms(claim.low_s)}–{ms(claim.high_s)} ms at "
        f"p{100 * claim.quantile:g}."
    ]
    for row in records(table):
        verb = "**is reached**" if row["reached"] else "is not reached"
        harm = f"{percent(row['harm'])} [{percent(row['harm_low'])}–{percent(row['harm_high'])}]"
        lines.append(
            f"- {row['arm']}, {row['persona']} callers: "
            f"{_ms(row, 'latency')}; the band {verb}; {harm} harmed."
        )
    return "\n".join(lines)


def _harm(turns: pd.DataFrame) -> dict[str, float]:
    """The proportion of harmed turns; latencies leave most of these turns out."""
    return statistics.rate(turns, turns["harmed"] == 1).columns("harm")


def _ms(row: Mapping[str, Any], name: str) -> str:
    return _MS.estimate(*ends(row, name, "_s"), symbol=True)


def verdict_rows(
    together: pd.DataFrame, alone: pd.DataFrame, best: pd.DataFrame, claim: Claim, headline: str
) -> pd.DataFrame:
    """What the study says: the level of the stack to recommend, then all stacks and techniques."""
    both = pd.concat([together, alone], ignore_index=True)
    rows = verdicts.rows(both, harm="premature, no or wrong reply")
    level = verdicts.latency_claim(best, claim, arm=headline)
    return pd.concat([level, rows], ignore_index=True)
