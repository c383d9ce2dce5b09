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
from labkit.evidence.units import MS, ms, percent
from labkit.evidence.verdict import MORE, Rules
from labkit.report import verdicts
from labkit.report.dots import Dot, dots
from labkit.report.figures import Chart
from labkit.report.palette import looks
from labkit.report.saving import ends, records
from labkit.report.tables import titled
from labkit.report.turn_taking import PERSONA
from labkit.settings.roles import figure

DEFAULTS = "defaults"
CHOSEN = "chosen"
LEVEL = "level: all together"
NO_PREEMPTION = {"preemptive.enabled": False}

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


def tried(techniques: Sequence[str]) -> dict[str, str | Arm]:
    """All that is tried on the first calls.

    The defaults, the guide's stack as its listing has it and repaired, each technique alone, all
    together, and all but one.
    """
    published = {
        "as published": Arm("stacked-as-published"),
        "as published, repaired": Arm("stacked-as-published", {"agent.repaired": True}),
    }
    rest = {f"{_WITHOUT}{n}": stack(t for t in techniques if t != n) for n in techniques}
    return {**singles(techniques), **published, ALL: stack(techniques),
            **(rest if len(techniques) > 1 else {})}  # fmt: skip


def fresh(techniques: Sequence[str], chosen: Sequence[str]) -> dict[str, str | Arm]:
    """What is run on calls that chose nothing: the defaults, all together, and what was chosen."""
    return {DEFAULTS: Arm("vanilla"), ALL: stack(techniques), CHOSEN: stack(chosen)}


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


def compared(results: Results, rules: Rules) -> pd.DataFrame:
    """Each arm against the defaults; harm is a premature, missing or wrong reply."""
    arms = judged(results)
    return compare(arms[DEFAULTS], arms, harm="harmed", rules=rules)


def chosen(comparison: pd.DataFrame, techniques: Sequence[str]) -> list[str]:
    """The techniques to recommend, by the first calls; fresh ones must confirm it.

    Of the stacks that were run (all, all but one, each alone) the one that saves most per turn of
    those whose harm does not rise over the limit; none if that is slower than the defaults.
    """
    stacks = {
        ALL: list(techniques),
        **{f"{_WITHOUT}{n}": [t for t in techniques if t != n] for n in techniques},
        **{n: [n] for n in techniques},
    }
    run = comparison[comparison["arm"].isin(stacks) & (comparison["harm_verdict"] != MORE)]
    if not (run["saving_s"] > 0).any():
        return []
    return stacks[str(run.nlargest(1, "saving_s")["arm"].iloc[0])]


def strongest(comparison: pd.DataFrame, techniques: Sequence[str], n: int) -> list[str]:
    """The ``n`` techniques that save most alone, in their own order."""
    alone = comparison[comparison["arm"].isin(techniques)].nlargest(n, "saving_s")["arm"]
    return [name for name in techniques if name in set(alone)]


def stacks_only(comparison: pd.DataFrame) -> pd.DataFrame:
    """The rows of all together and of all but one."""
    names = comparison["arm"]
    return comparison[(names == ALL) | names.str.startswith(_WITHOUT)]


def predicted(first: Results, parts: Results, techniques: Sequence[str]) -> pd.DataFrame:
    """Savings by :func:`labkit.evidence.additivity.additivity`, from the study's runs."""
    of = {name: overlap.parts(arm.turns) for name, arm in parts.arms.items()}
    alone = {name: first.arms[name].turns for name in of}
    return additivity(DEFAULTS, alone, first.arms[ALL].turns, of, techniques, _MODES)


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


def read_chosen(techniques: Sequence[str], found: Sequence[str]) -> str:
    """A sentence that names what was chosen and what was not."""
    rest = [name for name in techniques if name not in found]
    text = f"Chosen on these calls: **{', '.join(found) or 'none'}**."
    return f"{text} Left out: {', '.join(rest)}." if rest else text


def read_confirmed(confirmed: pd.DataFrame) -> str:
    """What the stacks save and harm on calls that chose nothing."""
    lines = []
    for row in records(confirmed):
        lines.append(
            f"**{row['arm']}**: {row['advice']}. It saves {_ms(row, 'saving')} per turn, "
            f"{_ms(row, 'saving_p95')} at p95; {row['reason']} "
            f"({percent(row['baseline_harm_rate'])} of turns are harmed by the defaults, "
            f"{percent(row['harm_rate'])} here)."
        )
    return "\n\n".join(lines)


def read_sums(table: pd.DataFrame) -> str:
    """A sentence that compares the stacked saving with the sum of the single ones."""
    rows = {row["arm"]: row for row in records(table)}
    total, stacked = (_ms(rows[name], "measured") for name in (SUM, ALL))
    return (
        f"On {rows[ALL]['n_turns']} turns that all arms answered, the single savings "
        f"add up to a mean of {total}; all of it together saves {stacked}. The overlap "
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
    return MS.estimate(*ends(row, name, "_s"), symbol=True)


def verdict_rows(
    confirmed: pd.DataFrame, alone: pd.DataFrame, stacked: Mapping[str, pd.DataFrame], claim: Claim
) -> pd.DataFrame:
    """What the study says: the level of all together, as claimed, then stacks and techniques.

    The stacks' rows are those of the fresh calls; those of the techniques and of what is lost
    without one are of the calls that chose.
    """
    rest = alone[~alone["arm"].isin(confirmed["arm"])]
    rows = verdicts.rows(
        pd.concat([confirmed, rest], ignore_index=True), harm="premature, no or wrong reply"
    )
    level = verdicts.latency_claim(stacked[ALL], claim, arm=LEVEL)
    return pd.concat([level, rows], ignore_index=True)
