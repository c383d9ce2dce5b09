"""Verdicts by rules that were fixed before the data: what is gained, what is harmed, what to do.

Gain and harm are judged apart, each by its whole confidence interval, and :data:`ADVICE` says what
follows from both. Nothing is decided by a point estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from labkit.evidence.intervals import LEVEL
from labkit.evidence.statistics import Estimate
from labkit.evidence.units import SHARE, change_unit, ms, number

FASTER, SAME, SLOWER = "faster", "no practical difference", "slower"
LESS, WITHIN, MORE = "less", "within the limit", "more"
UNDECIDED = "undecided"
ADOPT, TRADE_OFF, REJECT = "adopt", "trade-off", "reject"

ADVICE = {
    #          fewer harmed      within the limit  more harmed       harm undecided
    FASTER:    (ADOPT,           ADOPT,            TRADE_OFF,        UNDECIDED),
    SAME:      (ADOPT,           SAME,             REJECT,           UNDECIDED),
    SLOWER:    (TRADE_OFF,       REJECT,           REJECT,           UNDECIDED),
    UNDECIDED: (UNDECIDED,       UNDECIDED,        UNDECIDED,        UNDECIDED),
}  # fmt: skip
"""What to do, by the gain and then by the harm in the order of the heading.

Faster in the mean and slower at the p95 is a trade-off, whatever the harm.
"""
_HARMS = (LESS, WITHIN, MORE, UNDECIDED)
_HOPELESS_CALLS = 2000
"""An estimate so near a limit that it takes more calls than these lies on it."""


@dataclass(frozen=True)
class Rules:
    """What is worth having and what is accepted.

    Attributes:
        worth_saving_s: Smallest mean saving worth having, seconds; a smaller one either way is no
            practical difference.
        max_harm: Largest increase of the harm that is accepted: a proportion of turns, or in the
            unit of the harm's column.
        worth_p95_s: The same for the saving at p95, which no more is known of so precisely.
        level: Coverage of intervals; a look before the last asks for more (see
            :mod:`labkit.evidence.sequential`).
    """

    worth_saving_s: float = 0.05
    max_harm: float = 0.02
    worth_p95_s: float = 0.2
    level: float = LEVEL

    def at(self, level: float) -> Rules:
        """The same rules for intervals of another level."""
        return replace(self, level=level)


class Verdict(NamedTuple):
    """What was found, and what to do."""

    gain: str  # faster, no practical difference, slower or undecided
    harm: str  # less, within the limit, more or undecided
    advice: str  # adopt, trade-off, no practical difference, reject or undecided
    reason: str  # one sentence
    more_calls: int = 0  # about how many more would decide; 0 if it is decided, or on a limit


def decide(
    saving: Estimate, p95: Estimate, harm: Estimate, rules: Rules, harm_kind: str = SHARE
) -> Verdict:
    """Judges an arm by the interval of each change.

    Args:
        saving: Mean saving per turn, seconds; positive is faster.
        p95: The saving at p95, seconds.
        harm: Increase of the harm; positive is worse.
        harm_kind: ``share`` if it is a proportion of turns, otherwise its column, for its unit.
    """
    if math.isnan(saving.value):
        return Verdict(UNDECIDED, UNDECIDED, REJECT, "no turn was answered in both arms")
    gain, gained, more = _gain(saving, p95, rules)
    found, harmed, needed = _harm(harm, rules, harm_kind)
    slower_tail = gain == FASTER and p95.high <= -rules.worth_p95_s
    if slower_tail:
        gained += f", and slower at p95 by at least {ms(-p95.high)} ms"
    advice = TRADE_OFF if slower_tail else ADVICE[gain][_HARMS.index(found)]
    if advice != UNDECIDED:
        more = needed = 0
    return Verdict(gain, found, advice, f"{gained}; {harmed}", max(more, needed))


def _gain(saving: Estimate, p95: Estimate, rules: Rules) -> tuple[str, str, int]:
    """The gain in a word and in a sentence, and how many more calls it would take."""
    worth, tail = rules.worth_saving_s, rules.worth_p95_s
    for e, limit, where in ((saving, worth, ""), (p95, tail, " at p95")):
        if e.low >= limit:
            return FASTER, f"faster{where} by at least {ms(e.low)} ms", 0
        if e.high <= -limit:
            return SLOWER, f"slower{where} by at least {ms(-e.high)} ms", 0
        if not -limit < e.low <= e.high < limit:
            more, how = _needed(e, (-limit, limit))
            if math.isnan(e.low):
                return UNDECIDED, f"gain undecided: {how}", more
            what = f"the saving{where or ' per turn'}, {ms(e.low)} to {ms(e.high)} ms,"
            return UNDECIDED, f"gain undecided: {what} reaches across {ms(limit)} ms; {how}", more
    return SAME, f"within ±{ms(worth)} ms in the mean and ±{ms(tail)} ms at p95", 0


def _harm(harm: Estimate, rules: Rules, kind: str) -> tuple[str, str, int]:
    unit, limit = change_unit(kind, ""), rules.max_harm

    def shown(value: float) -> str:
        return f"{number(unit.factor * value)} {unit.symbol}"

    if harm.low > limit:
        return MORE, f"harm rises by at least {shown(harm.low)}, over the {shown(limit)} set", 0
    if harm.high <= -limit < 0:
        return LESS, f"harm falls by at least {shown(-harm.high)}", 0
    if harm.high <= limit:
        return WITHIN, f"harm rises by {shown(max(harm.high, 0.0))} at most", 0
    more, how = _needed(harm, (limit,))
    if math.isnan(harm.high):
        return UNDECIDED, f"harm undecided: {how}", more
    what = f"it may rise by {shown(harm.high)}, over the {shown(limit)} set"
    return UNDECIDED, f"harm undecided: {what}; {how}", more


def _needed(e: Estimate, limits: tuple[float, ...]) -> tuple[int, str]:
    """About how many more calls would decide, as intervals shrink with the root of their number."""
    if math.isnan(e.low):
        return 20, "it takes several calls to know how calls differ"
    off = min(abs(e.value - limit) for limit in limits)
    half = max(e.high - e.value, e.value - e.low)
    if off <= 0 or (half / off) ** 2 * e.n_calls > _HOPELESS_CALLS:
        return 0, "the estimate lies on that limit, where more calls hardly decide"
    calls = max(math.ceil(((half / off) ** 2 - 1) * e.n_calls), 1)
    return calls, f"about {calls} more calls would decide"
