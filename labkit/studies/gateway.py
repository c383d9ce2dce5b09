"""Study 20: what LiveKit Inference costs beside the providers' own plugins, region by region.

The models, callers and random draws are the same either way (common random numbers), so differences
are due to the way alone: one more hop, the gateway's handling of each message, and a protocol that
sends speech sentence by sentence and ends a connection with an interruption.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.compare import compare
from labkit.evidence.units import ms, ms_ci
from labkit.evidence.verdict import Rules
from labkit.measure.stages import STAGES
from labkit.report.tables import titled
from labkit.settings.roles import link

DIRECT, INFERENCE = "direct plugins", "LiveKit Inference"
ARMS = {
    DIRECT: Arm("inference_gateway"),
    INFERENCE: Arm("inference_gateway", {"agent.variant": "inference"}),
}
REGION = "region"
ONE_REGION = "all in one region"

_GATEWAY, _BEHIND = "links.livekit.rtt_s", "providers.livekit.behind.rtt_s"
_DIRECT = [link(role, "rtt_s") for role in ("stt", "llm", "tts")]
_AFTER = "after an interrupted reply"
_LEAST_S = 0.0005


def regions(near_rtt_s: float, far_rtt_s: float) -> dict[str, dict[str, object]]:
    """Settings of each place of agent, gateway and models, by name.

    Round trips in seconds: within a region and between regions.
    """

    def at(direct_s: float, gateway_s: float, behind_s: float) -> dict[str, object]:
        return {**dict.fromkeys(_DIRECT, direct_s), _GATEWAY: gateway_s, _BEHIND: behind_s}

    return {
        ONE_REGION: at(near_rtt_s, near_rtt_s, near_rtt_s),
        "agent far away": at(far_rtt_s, far_rtt_s, near_rtt_s),
        "models far away": at(far_rtt_s, near_rtt_s, far_rtt_s),
        "gateway far away": at(near_rtt_s, far_rtt_s, far_rtt_s),
    }


def compared(results: Results, rules: Rules) -> pd.DataFrame:
    """What the gateway saves, or costs, against direct plugins."""
    runs = results.arms
    return compare(runs[DIRECT], {INFERENCE: runs[INFERENCE]}, rules=rules)


def elsewhere(regions: Mapping[str, Mapping[str, Any]]) -> dict[str, Arm]:
    """Both ways in every region but the first; ``regions`` are those of :func:`regions`."""
    return {
        f"{way}, {region}": Arm(arm.agent, {**arm.settings, **settings})
        for region, settings in regions.items()
        if region != ONE_REGION
        for way, arm in ARMS.items()
    }


def by_region(near: Results, far: Results, rules: Rules) -> pd.DataFrame:
    """The same of each region: one row per region, named by ``arm``.

    Args:
        near: Results of :data:`ARMS` in one region.
        far: Results of :func:`elsewhere`.
    """
    rows, runs = [compared(near, rules).assign(arm=ONE_REGION)], far.arms
    for name, base in runs.items():
        way, _, region = name.partition(", ")
        if way == DIRECT:
            rows.append(compare(base, {region: runs[f"{INFERENCE}, {region}"]}, rules=rules))
    return pd.concat(rows, ignore_index=True)


def moved(turns: pd.DataFrame) -> pd.DataFrame:
    """How much longer each stage takes through the gateway, per turn in the mean.

    Returns:
        One row per stage that changes, and the whole: milliseconds direct, through the gateway,
        and the difference over the same turns with its CI.
    """
    arm = dict(iter(turns.groupby("arm")))
    rows = {}
    for column in (*STAGES, statistics.LATENCY):
        change = statistics.difference(arm[DIRECT], arm[INFERENCE], column)
        if column != statistics.LATENCY and not abs(change.value) >= _LEAST_S:
            continue
        both = statistics.pairs(arm[DIRECT], arm[INFERENCE], column)
        rows[column.removesuffix("_s")] = {
            "direct (ms)": ms(float(both["before"].mean())),
            "Inference (ms)": ms(float(both["after"].mean())),
            "difference (ms)": ms_ci(change),
        }
    return titled(pd.DataFrame(rows).T, "stage")


def after_interruptions(turns: pd.DataFrame) -> pd.DataFrame:
    """How often each way had to open a connection to the TTS, after an interrupted reply or not."""
    ordered = turns.sort_values(["arm", "call", "turn"])
    cut = ordered.groupby(["arm", "call"], sort=False)["reply_interrupted"].shift(fill_value=False)
    later = ordered.assign(cut=cut.astype(bool))[ordered["turn"] > 0]
    rows = {}
    for (arm, interrupted), own in later.groupby(["arm", "cut"], sort=False):
        rows[f"{arm}, {_AFTER if bool(interrupted) else 'other turns'}"] = {
            "turns": str(len(own)),
            "opened a connection (%)": f"{100 * float(own['tts_cold'].mean()):.0f}",
            "TTS network (ms)": ms_ci(statistics.mean(own, "tts_network_s")),
        }
    return titled(pd.DataFrame(rows).T, "way")
