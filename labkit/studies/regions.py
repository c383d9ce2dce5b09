"""Study 12: what the distance of each hop costs, and whether pinning a region removes it.

In the sweep one hop at a time is farther away than in the base, where all are equally near; callers
and random draws are the same (common random numbers), so differences are due to the distance alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import compare
from labkit.evidence.verdict import Rules
from labkit.measure.stages import STAGES
from labkit.report import figures, verdicts
from labkit.report.figures import Chart
from labkit.settings.roles import link

DEFAULT, PINNED, RELAYED = "default hosts", "pinned to the region", "pinned, by a gateway"
DIRECT = "no gateway in between"
"""Without the relay, compared with the hosts behind it; the arm of a claim in the ledger."""

NO_REGION, NO_PATH = "as published: region=", "as published: no path"
DIFFERS = {NO_REGION: "no plugin has such an argument"}
"""Arms in which the published mechanism does not exist, and why."""

HOPS = {
    "STT": link("stt", "rtt_s"),
    "LLM": link("llm", "rtt_s"),
    "TTS": link("tts", "rtt_s"),
    "caller": "links.caller.rtt_s",
}
"""The hops of a turn and the setting of each one's round trip."""

NOTHING_HIDDEN = "one full round trip"
"""Name of the line on which every added millisecond would be heard."""

_EU = {"agent.stt_host": "api.eu.deepgram.com", "agent.llm_host": "eu.api.openai.com"}
_AU = {"agent.stt_host": "api.au.deepgram.com", "agent.llm_host": "au.api.openai.com"}
_VISIBLE = 0.01


def hosts(near_rtt_s: float, ocean_rtt_s: float, far_rtt_s: float) -> dict[str, object]:
    """Settings of an agent in Europe: European hosts near, default ones overseas, Australia's far.

    The TTS is near under its one public name.
    """
    owners = ("deepgram", "openai")
    regional = {
        **{name: (owner, near_rtt_s) for name, owner in zip(_EU.values(), owners, strict=True)},
        **{name: (owner, far_rtt_s) for name, owner in zip(_AU.values(), owners, strict=True)},
    }
    return {
        **{f"links.{owner}.rtt_s": ocean_rtt_s for owner in owners},
        HOPS["TTS"]: near_rtt_s,
        **{f"hosts.{name}": owner for name, (owner, _) in regional.items()},
        **{f"links.{name}.rtt_s": rtt_s for name, (_, rtt_s) in regional.items()},
    }


def arms(gateway_rtt_s: float, gateway_processing_s: float) -> dict[str, Arm]:
    """The default hosts, pinned ones, and the pinned ones behind a gateway."""
    gateway = {
        "gateway.enabled": True,
        "gateway.rtt_s": gateway_rtt_s,
        "gateway.processing_s": gateway_processing_s,
    }
    return {
        DEFAULT: Arm("regional"),
        PINNED: Arm("regional", _EU),
        "wrong region": Arm("regional", _AU),
        RELAYED: Arm("regional", {**_EU, **gateway}),
    }


def compared(results: Results, rules: Rules) -> pd.DataFrame:
    """Each choice of hosts against the default."""
    runs = results.arms
    return compare(runs[DEFAULT], runs, rules=rules)


def published() -> dict[str, Arm]:
    """The two ways of the guide, as they are written there."""
    return {
        NO_REGION: Arm("regional", {"agent.variant": "as_published", "agent.region": "eu"}),
        NO_PATH: Arm("regional", {**_EU, "agent.variant": "no_path"}),
    }


def near(rtt_s: float) -> dict[str, object]:
    """Settings that put every hop at one distance."""
    return dict.fromkeys(HOPS.values(), rtt_s)


def places(rtts_s: Sequence[float]) -> list[dict[str, object]]:
    """Places of an experiment's grid: the base, then one hop at a time at each distance."""
    base: list[dict[str, object]] = [{}]
    return base + [{column: rtt_s} for column in HOPS.values() for rtt_s in rtts_s]


def added(turns: pd.DataFrame) -> pd.DataFrame:
    """By how much the mean response latency grew with each hop's round trip, at all :func:`places`.

    Returns:
        One row per hop and distance: ``hop``, ``added_rtt_s``, ``added_s`` with ``low`` and
        ``high``, and ``ms_per_ms``, the proportion of the added round trip that the caller hears.
        The last hop is :data:`NOTHING_HIDDEN`.

    Raises:
        ValueError: the turns of the base, or of any other place, are missing.
    """
    base, far = _by_place(turns)
    heard = {}
    for hop, rtt_s, part in far:
        more = statistics.difference(base, part)
        heard[hop, rtt_s] = (more.value, more.low, more.high)
    steps = sorted({rtt_s for _, rtt_s in heard})
    heard |= {(NOTHING_HIDDEN, rtt_s): (rtt_s, rtt_s, rtt_s) for rtt_s in steps}
    rows = []
    for hop in (*HOPS, NOTHING_HIDDEN):
        for rtt_s in (0.0, *steps):
            value, low, high = heard.get((hop, rtt_s), (0.0, 0.0, 0.0))
            per_ms = value / rtt_s if rtt_s else float("nan")
            rows.append({"hop": hop, "added_rtt_s": rtt_s, "added_s": value, "low": low,
                         "high": high, "ms_per_ms": per_ms})  # fmt: skip
    return pd.DataFrame(rows)


def hops(turns: pd.DataFrame) -> Chart:
    """Draws what :func:`added` returns of the turns of a sweep."""
    points = added(turns)
    return figures.lines(
        points, "added_rtt_s", "added_s", "hop", x_name="added round trip",
        y_name="added to the mean response latency",
    )  # fmt: skip


def by_stage(turns: pd.DataFrame) -> pd.DataFrame:
    """Where the milliseconds of each hop's longest round trip went, per millisecond added.

    A stage that shrank hid that much of it: it had been waiting for something else.

    Returns:
        One row per hop: the change of each stage's mean, of the stages that changed, and of the
        whole, as ``heard by the caller``; all are ms per ms.
    """
    base, far = _by_place(turns)
    rows = {}
    for hop, rtt_s, part in far:  # the farthest comes last
        change = {s: float(part[s].mean() - base[s].mean()) / rtt_s for s in STAGES}
        rows[hop] = change | {"heard by the caller": sum(change.values())}
    table = pd.DataFrame(rows).T
    kept = [c for c in table if table[c].abs().max() >= _VISIBLE]
    return table[kept].round(2) + 0.0


def _by_place(turns: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, float, pd.DataFrame]]]:
    """The turns of the base, and of each other place with its hop and added round trip."""
    near_s = {column: float(turns[column].min()) for column in HOPS.values()}
    away = pd.DataFrame({hop: turns[c] - near_s[c] for hop, c in HOPS.items()}).round(9)
    base = turns[(away == 0).all(axis=1)]
    far = [
        (hop, float(rtt_s), turns[away[hop] == rtt_s])
        for hop in HOPS
        for rtt_s in sorted(away[hop].unique())
        if rtt_s > 0
    ]
    if not len(base) or not far:
        raise ValueError("expected the turns of a sweep over single hops, with its base")
    return base, far


def verdict_rows(comparison: pd.DataFrame, claim: Claim) -> pd.DataFrame:
    """What the study says of each choice of hosts."""
    claimed = {PINNED: claim, NO_REGION: claim}
    return verdicts.rows(comparison, claim=claimed, differs=DIFFERS)
