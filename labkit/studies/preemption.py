"""Study 01: what preemptive generation saves, measured and predicted, and what it wastes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import overlap, paired, statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import by_arm, compare
from labkit.evidence.paired import waits
from labkit.evidence.units import ms, percent, percent_ci
from labkit.evidence.verdict import Rules
from labkit.report import figures, tables, verdicts
from labkit.report.figures import Chart, trade_off
from labkit.report.harms import What
from labkit.report.tables import titled
from labkit.settings.roles import figure

PREDICTED = ", predicted"
"""Ends the name of a predicted arm."""

PERSONA = "caller.persona"
FINAL = figure("stt", "final")
"""The STT's delay of the final transcript."""

DIFFERS = {"as published": "it is the default under a deprecated name, and starts on finals"}

_MODES = {"default": "llm", "default, with TTS": "tts"}
_HARMS: dict[str, What] = {
    "calls thrown away": "wasted",
    "tokens unspoken": "llm_wasted_tokens",
    "TTS characters": "tts_characters",
    "LLM reconnections": "llm_cold",
    "TTS reconnections": "tts_cold",
}
_STARTS = {
    "agent_interims_before_final": "interims before the first final",
    "agent_calls_before_final": "LLM calls before the first final",
    "agent_calls_after_final": "LLM calls after it",
}


def arms(eager_threshold: float) -> dict[str, str | Arm]:
    """The arms: without, with and with more preemption, on two kinds of STT.

    ``eager_threshold`` is the confidence from which Flux announces the end of a turn.
    """
    eager = {"agent.variant": "done_right", "stt.eager_eot_threshold": eager_threshold}
    return {
        "off": "vanilla@preemptive.enabled=false",
        "default": "vanilla",
        "as published": "preemptive_generation@agent.variant=as_published",
        "default, with TTS": "vanilla@preemptive.tts=true",
        "Flux, off": "vanilla@stt.provider=deepgram-flux,preemptive.enabled=false",
        "Flux, eager": Arm("preemptive_generation", eager),
    }


def swept(eager_threshold: float) -> dict[str, str | Arm]:
    """The arms that are run at each delay of the final transcript."""
    return {n: arm for n, arm in arms(eager_threshold).items() if n in ("off", *_MODES)}


def compared(main: Results, rules: Rules) -> pd.DataFrame:
    """Each arm against the one without preemption on the same STT."""
    runs = main.arms
    nova = {name: run for name, run in runs.items() if not name.startswith("Flux")}
    flux = {"Flux, eager": runs["Flux, eager"]}
    parts = [compare(runs["off"], nova, rules=rules), compare(runs["Flux, off"], flux, rules=rules)]
    return pd.concat(parts)


def saving_by_wait(turns: pd.DataFrame, delay_s: float) -> pd.DataFrame:
    """:func:`labkit.report.tables.saving_by_wait`, on the same STT."""
    flux = turns["arm"].str.startswith("Flux")
    parts = [
        paired.savings(turns[~flux], "off", [PERSONA]),
        paired.savings(turns[flux], "Flux, off", [PERSONA]),
    ]
    return tables.saving_by_wait(pd.concat(parts), delay_s)


def changing_stt(main: Results) -> pd.DataFrame:
    """What changing from one STT to the other would save, as a table to read."""
    runs = main.arms
    pairs = {"Flux, eager": "default", "Flux, off": "off"}
    parts = [verdicts.rows(compare(runs[old], {new: runs[new]})) for new, old in pairs.items()]
    return verdicts.table(pd.concat(parts))


def waste_chart(main: Results, limit: float) -> Chart:
    """Latency against turns with a call thrown away, arm by arm and persona by persona.

    ``limit`` is the largest claimed proportion of such turns.
    """
    wasted = {
        f"{arm}, {persona}": _wasted(own)
        for persona in dict.fromkeys(main.turns[PERSONA])
        for arm, own in by_arm(main.turns[main.turns[PERSONA] == persona]).items()
        if arm != "as published"
    }
    return trade_off(wasted, harm="wasted", harm_name="turns with a call thrown away", limit=limit)


def harms(main: Results) -> Chart:
    """What preemption costs, against the arm without it."""
    wasted = {name: _wasted(run.turns) for name, run in main.arms.items()}
    return figures.harms(wasted.pop("off"), wasted, _HARMS)


def _wasted(turns: pd.DataFrame) -> pd.DataFrame:
    return turns.assign(wasted=turns["llm_wasted_tokens"] > 0)


def forecast(turns: pd.DataFrame) -> pd.DataFrame:
    """What the arms of :func:`swept` would save at each delay of the final transcript."""
    return predicted(turns, "off", _MODES, [FINAL])


def against_final(saved: pd.DataFrame, forecast: pd.DataFrame, delay_s: float) -> Chart:
    """Measured and predicted mean savings against the delay of the final transcript."""
    points = against(saved, forecast, FINAL, delay_s).rename(columns={FINAL: "final_delay_s"})
    return figures.lines(
        points, "final_delay_s", "saved_s", "arm", "wait", x_name="delay of the final transcript",
        y_name="mean saving compared with off",
    )  # fmt: skip


def predicted(
    turns: pd.DataFrame, baseline: str, modes: Mapping[str, str], axes: Sequence[str] = ()
) -> pd.DataFrame:
    """What arms would save by :mod:`labkit.evidence.overlap`, from the baseline's turns alone.

    The model takes a turn to be committed once; those that were heard in pieces are left out.

    Args:
        modes: For each arm to be predicted, what it starts before the commit: ``llm`` or ``tts``.

    Returns:
        What :func:`labkit.evidence.overlap.forecast` returns; :data:`PREDICTED` ends arms' names.
    """

    def saving(mode: str, of: pd.DataFrame) -> pd.Series:
        return overlap.predict(of, "off") - overlap.predict(of, mode)

    whole = turns[turns["n_user_messages"] == 1]
    arms = {arm + PREDICTED: partial(saving, mode) for arm, mode in modes.items()}
    return overlap.forecast(whole, baseline, axes, arms)


def agreement(saved: pd.DataFrame, forecast: pd.DataFrame, axes: Sequence[str] = ()) -> str:
    """How far the predicted savings are from the measured ones, turn by turn, as a sentence."""
    key = [*axes, "call", "turn"]
    at = forecast.assign(arm=forecast["arm"].str.removesuffix(PREDICTED)).set_index(["arm", *key])
    both = saved.join(at["saved_s"].rename("predicted_s"), on=["arm", *key])
    off = (both["saved_s"] - both["predicted_s"]).dropna().abs()
    return (
        "The model of overlapping stages knows only the arm without preemption. Its prediction is "
        f"within {ms(float(off.median()))} ms of the measured saving on half of the "
        f"{len(off)} turns, and within {ms(float(off.quantile(0.9)))} ms on 90%."
    )


def against(saved: pd.DataFrame, forecast: pd.DataFrame, x: str, delay_s: float) -> pd.DataFrame:
    """Measured and predicted mean savings at each value of a swept setting.

    Args:
        delay_s: The wait that the turn detector's doubt brings, seconds.

    Returns:
        One row per arm, value and ``wait`` (see :func:`waits`): ``saved_s``, ``low``, ``high``,
        ``n_turns``. A predicted arm follows the one it predicts.
    """
    key = [x, "call", "turn"]
    measured = saved.assign(wait=waits(saved, delay_s))
    known = measured.drop_duplicates(key).set_index(key)["wait"]
    both = pd.concat([measured, forecast.join(known, on=key)])
    both = both[both["wait"].notna()]
    return paired.mean_savings(both, ["wait", "arm", x])


def waste(turns: pd.DataFrame, by: str, limit: float) -> pd.DataFrame:
    """Calls to the model per turn and what was thrown away, by arm and another column.

    ``limit`` is the largest claimed proportion of turns with a call thrown away.
    """
    rows = []
    for (arm, group), own in turns.groupby(["arm", by], sort=False):
        thrown = statistics.rate(own, own["llm_wasted_tokens"] > 0)
        verdict = "below" if thrown.high < limit else "above" if thrown.low > limit else "unclear"
        tokens, spoken = own["llm_wasted_tokens"].sum(), own["llm_completion_tokens"].sum()
        rows.append({
            "arm": arm,
            by.rpartition(".")[2]: group,
            "LLM calls per turn": f"{own['llm_calls'].mean():.2f}",
            "tokens thrown away": percent(tokens / spoken),
            "turns with a call thrown away": percent_ci(thrown),
            f"compared with the claimed {percent(limit)}": verdict,
        })  # fmt: skip
    return titled(pd.DataFrame(rows).set_index("arm"), "arm")


def starts(turns: pd.DataFrame) -> pd.DataFrame:
    """What calls to the model had to start from, in arms that tell; sums over turns."""
    known = turns[turns[list(_STARTS)].notna().all(axis=1)]
    sums = known.groupby("arm", sort=False)[list(_STARTS)].sum().astype(int)
    return titled(sums.rename(columns=_STARTS).assign(turns=known.groupby("arm").size()), "arm")


def verdict_rows(comparison: pd.DataFrame, claim: Claim) -> pd.DataFrame:
    """What the study says of each arm."""
    return verdicts.rows(comparison, claim=claim, differs=DIFFERS)
