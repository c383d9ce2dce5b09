"""Study 17: do these callers put a turn detector to the test that people do?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence import eot_bench
from labkit.evidence.claims import Claim, level_outcome
from labkit.evidence.eot import Eot, eot
from labkit.evidence.eot_bench import LOCAL, EotBench, Point
from labkit.evidence.eot_comparison import ALLOWED, CHECK, FIT, HEADLINE, moments, named, speakers
from labkit.evidence.eot_policy import Policy, auc, counted, decisions, estimates
from labkit.evidence.statistics import SPEAKER, quantile, rate
from labkit.evidence.units import ms, ms_ci, percent
from labkit.report import verdicts
from labkit.report.eot import comparison_table
from labkit.report.figures import Chart, lines
from labkit.report.tables import titled

PERSONA, FLOOR = "caller.persona", "caller.noise_floor_dbfs"


def of(persona: str) -> dict[str, object]:
    """Settings of the callers; an empty persona is the default one."""
    return {PERSONA: persona} if persona else {}


def inputs(found: Eot) -> pd.DataFrame:
    """The published figures that the callers were fitted to, and theirs."""
    return _table(found, FIT)


def checks(found: Eot) -> pd.DataFrame:
    """The published figures that were left to see whether they agree."""
    return _table(found, CHECK)


def _table(found: Eot, role: str) -> pd.DataFrame:
    own = found.comparison[found.comparison["role"] == role]
    return comparison_table(own, eot_bench.load())


def summary(found: Eot) -> str:
    """How many figures agree, as a sentence."""
    counts = [
        f"{own['agrees'].sum()} of {len(own)}"
        for own in (found.comparison[found.comparison["role"] == role] for role in (FIT, CHECK))
    ]
    pauses, ends = counted(found.silences)
    return (
        f"**{counts[0]} inputs of the fit and {counts[1]} checks agree**, on {len(ends)} turns "
        f"with {len(pauses)} mid-turn silences by {ends[SPEAKER].nunique()} speakers. The area "
        f"under the curve is {auc(ends['score'], pauses['score']):.2f}."
    )


def asked(found: Eot) -> pd.DataFrame:
    """The score when a session asks beside the one 0.2 s after the last sound."""
    table = moments(found.silences).set_index("asked")
    late_s = found.silences["asked_s"]
    shares = table.drop(columns="auc").map(percent)
    names = {c: str(c).replace("_0.", " at 0.").replace("_", " ") for c in shares}
    shown = shares.rename(columns=names).assign(**{"area under the curve": table["auc"].round(2)})
    shown["asked after (ms)"] = ["–".join(ms(float(late_s.quantile(q))) for q in (0.1, 0.9)), "200"]
    return titled(shown, "detector asked")


def spread(found: Eot, threshold: float) -> str:
    """How far speakers differ, as a sentence."""
    table = speakers(found.silences, threshold)
    doubts = 1 - table["ends_detected"]
    worst = table[SPEAKER].iloc[doubts.argmax()]
    turn, voice = (estimates(found.silences, HEADLINE, by)["latency_s"]
                   for by in ("call", SPEAKER))  # fmt: skip
    return (
        f"At {threshold:g} the detector doubts {percent(doubts.max())} of the ends of "
        f"*{worst}* and {percent(doubts.median())} of the median speaker's. The mean "
        f"wait of {named(HEADLINE)} is {ms_ci(turn)} ms by call and {ms_ci(voice)} by speaker."
    )


def backgrounds(
    floors_dbfs: Sequence[float], persona: str, threshold: float, **drawn: int
) -> tuple[pd.DataFrame, Results]:
    """What the detector makes of the same callers over background noise of several levels.

    Args:
        floors_dbfs: Levels of pink noise; -120 is digital silence.
        threshold: Score from which a turn counts as finished.
        **drawn: ``calls``, ``turns`` and ``seed`` of :func:`labkit.evidence.eot.eot`.

    Returns:
        One row per level and kind of silence: ``of``, the floor, ``taken_rate`` (proportion of
        silences at or over the threshold) with ``low`` and ``high``, ``auc``; and the last run's
        results.
    """
    rows: list[dict[str, Any]] = []
    for floor in floors_dbfs:
        found = eot(settings=of(persona) | {FLOOR: floor}, **drawn)  # type: ignore[arg-type]
        pauses, ends = counted(found.silences)
        area = auc(ends["score"], pauses["score"])
        for name, part in (("ends of turns", ends), ("mid-turn silences", pauses)):
            share = rate(part, part["score"] >= threshold)
            rows.append({"of": name, FLOOR: floor, **share.row("taken_rate"), "auc": area,
                         "n_turns": len(part)})  # fmt: skip
    return pd.DataFrame(rows), found.results


def background_chart(points: pd.DataFrame) -> Chart:
    """Draws :func:`backgrounds`."""
    return lines(points, FLOOR, "taken_rate", "of", x_name="background noise",
                 y_name="taken for the end of the turn")  # fmt: skip


def verdict_rows(found: Eot) -> pd.DataFrame:
    """The mean wait of each published policy of the local detector, compared with the published.

    A wait is as claimed if its whole CI over turns lies within what is allowed. The harm is what is
    cut off more than was published.
    """
    bench = eot_bench.load()
    rows = [_verdict(found, point, bench) for point in bench[LOCAL].points]
    return pd.DataFrame(rows, columns=list(verdicts.COLUMNS))


def _verdict(found: Eot, point: Point, bench: EotBench) -> dict[str, Any]:
    knobs = Policy(point.threshold, point.action_delay_s, point.timeout_s)
    at, waits = estimates(found.silences, knobs), decisions(found.silences, knobs)
    room_s = ALLOWED["latency_s"] * point.latency_s
    claim = Claim(bench[LOCAL].name, point.latency_s - room_s, point.latency_s + room_s)
    cut = at["false_cutoffs"]
    row: dict[str, Any] = {
        "arm": named(knobs), "measures": "latency", "n_turns": at["latency_s"].n,
        "harm_name": "false cut-offs, less the published", "harm_kind": "share",
        "harm": cut.value - point.false_cutoffs, "harm_low": cut.low - point.false_cutoffs,
        "harm_high": cut.high - point.false_cutoffs, "claim": f"{bench.source}, {bench.date}",
        "claim_outcome": level_outcome(at["latency_s"], claim),
    }  # fmt: skip
    for p, q in (("p50", 0.5), ("p95", 0.95)):
        row |= quantile(waits, q, "latency_s").columns(p, "_s")
    row["reason"] = f"{at['latency_s'].n} ends of turns and {cut.n} mid-turn silences"
    row["statement"] = (
        f"Of these callers the local detector at {named(knobs)} cuts off {percent(cut.value)} of "
        f"the mid-turn silences (of people, {percent(point.false_cutoffs)}) and waits "
        f"{ms_ci(at['latency_s'])} ms in the mean at ends of turns (of people, "
        f"{ms(point.latency_s)} ms): {row['claim_outcome']}."
    )
    return row
