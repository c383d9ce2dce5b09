"""Verdicts by rules that were fixed before the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from labkit.evidence.statistics import Estimate
from labkit.evidence.units import ms


@dataclass(frozen=True)
class Rules:
    """The smallest saving worth having and the largest harm accepted."""

    worth_saving_s: float = 0.05  # smallest saving worth having, seconds
    max_harm: float = 0.02  # largest increase of the harm that is accepted, a proportion of turns


class Verdict(NamedTuple):
    """A decision with its reason."""

    decision: str  # "adopt", "reject", "no practical difference" or "not enough evidence"
    reason: str  # one sentence
    more_calls: int = 0  # that would settle it; 0 if it is settled


def decide(saving: Estimate, harm: Estimate, rules: Rules) -> Verdict:
    """Weighs a saving (seconds, positive is good) against the increase of a harm's rate."""
    worth, limit = rules.worth_saving_s, rules.max_harm
    if math.isnan(saving.value):
        return Verdict("reject", "no turn was answered, so there is nothing to save")
    if harm.low > limit:
        return Verdict("reject", f"harm rises by at least {harm.low:.1%}, over the {limit:.1%} set")
    if -worth < saving.low and saving.high < worth:
        return Verdict("no practical difference", f"the whole CI lies within ±{ms(worth)} ms")
    if saving.high <= 0:
        return Verdict("reject", f"it is slower, by at least {ms(-saving.high)} ms")
    if saving.low >= worth and harm.high <= limit:
        return Verdict(
            "adopt", f"saves at least {ms(saving.low)} ms; harm rises {harm.high:.1%} at most"
        )
    return Verdict(
        "not enough evidence",
        f"the CI {ms(saving.low)} to {ms(saving.high)} ms reaches across the {ms(worth)} ms set"
        if harm.high <= limit
        else f"harm may rise by up to {harm.high:.1%}, over the {limit:.1%} set",
        _more_calls(saving, harm, rules),
    )


def _more_calls(saving: Estimate, harm: Estimate, rules: Rules) -> int:
    """Calls still needed, from intervals that shrink with the square root of their number."""
    ratios = [1.0]
    for estimate, edge in ((saving, rules.worth_saving_s), (harm, rules.max_harm)):
        half = (estimate.high - estimate.low) / 2
        distance = abs(estimate.value - edge)
        if half > 0:
            ratios.append(half / max(distance, half / 10))
    needed = max(ratios) ** 2 * saving.n_calls
    return max(math.ceil(needed) - saving.n_calls, 1)
