"""Study 11: long calls: what happens to the history, and to the answers that need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import by_arm, compare
from labkit.evidence.prompt_cache import with_cache
from labkit.evidence.units import ms_ci, percent_ci
from labkit.evidence.verdict import Rules
from labkit.report import figures, verdicts
from labkit.report.figures import Chart, swept
from labkit.report.tables import titled
from labkit.world.dialogue import load_dialogues

STABLE, NOTED = "stable", "note before it"
HAIKU = ", Haiku"
KEPT, KEPT_HAIKU = "stable instead of noted", f"stable instead of noted{HAIKU}"
"""What the claim is about: a stable order, the default, instead of a line that changes."""

RESTLESS = ("note, in the hook", "truncated", "summarised")

_OPENAI = {"llm.provider": "openai", "llm.model": "gpt-4o-mini"}
_ANTHROPIC = {
    "llm.provider": "anthropic",
    "llm.model": "claude-haiku-4-5",
    "agent.caching": "ephemeral",
}
ARMS = {
    STABLE: Arm("history_reuse", {**_OPENAI, "agent.history": "stable"}),
    NOTED: Arm("history_reuse", {**_OPENAI, "agent.history": "note"}),
    "note, in the hook": Arm("history_reuse", {**_OPENAI, "agent.history": "note_in_hook"}),
    "truncated": Arm("history_reuse", {**_OPENAI, "agent.history": "truncated"}),
    "summarised": Arm("history_reuse", {**_OPENAI, "agent.history": "summarised"}),
    STABLE + HAIKU: Arm("history_reuse", {**_ANTHROPIC, "agent.history": "stable"}),
    NOTED + HAIKU: Arm("history_reuse", {**_ANTHROPIC, "agent.history": "note"}),
}
HARMS = {
    "lost what they needed": "lost_context",
    "LLM calls": "llm_calls",
    "LLM tokens never spoken": "llm_wasted_tokens",
    "cost": "usd",
}


def read(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with what a prompt cache did to them, and :func:`with_context`."""
    return with_context(with_cache(turns))


def with_context(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with ``lost_context``: 1 if a reply that needed an earlier fact was wrong, else 0.

    NaN on turns that need no fact and on turns without a reply. Only the packaged dialogues say
    what a turn needs.
    """
    dialogues = load_dialogues().values()
    needing = [(d.name, turn.id) for d in dialogues for turn in d.turns if turn.needs]
    keys = pd.MultiIndex.from_frame(turns[["dialogue", "turn_id"]])
    needs = pd.Series(keys.isin(needing), index=turns.index)
    return turns.assign(lost_context=(1.0 - turns["reply_right"]).where(needs))


def in_classes(turns: pd.DataFrame, bins: Sequence[int]) -> pd.DataFrame:
    """The turns after the first, which reads everything, with ``up_to_turn``, their class's end.

    ``bins`` are the turn numbers, from 0, after which a class ends.
    """
    later = turns[turns["turn_number"] > 1]
    ends = pd.cut(later["turn_number"], list(bins), labels=list(bins[1:]))
    return later.assign(up_to_turn=ends.astype(float)).dropna(subset=["up_to_turn"])


def read_anew(turns: pd.DataFrame, bins: Sequence[int]) -> Chart:
    """Draws the median number of prompt tokens that no cache held, by class of turns."""
    return swept(
        in_classes(turns, bins), "up_to_turn", "fresh_tokens", "arm",
        x_name="turns of the call, up to", y_name="prompt tokens not cached, median",
    )  # fmt: skip


def cached(turns: pd.DataFrame) -> pd.DataFrame:
    """Each arm's mean proportion of cached prompt tokens, with its 95% CI over calls."""
    shares = {a: statistics.mean(own, "hit_share") for a, own in by_arm(turns).items()}
    return titled(pd.DataFrame({"cached": pd.Series(shares).map(percent_ci)}))


def added(turns: pd.DataFrame, column: str, bins: Sequence[int]) -> pd.DataFrame:
    """By how much a column's mean (seconds) lies above the stable history's, in classes of turns.

    Paired by call; a class ends after each turn number of ``bins``, which begin with 0.

    Returns:
        One row per arm and class: ``arm``, ``turn_number`` (the last of the class), ``added_s``,
        ``low``, ``high``.
    """
    rows = []
    for arm in [a for a in turns["arm"].unique() if a != STABLE]:
        for first, last in pairwise(bins):
            here = turns[(turns["turn_number"] > first) & (turns["turn_number"] <= last)]
            more = _difference(here, arm, column)
            rows.append({"arm": arm, "turn_number": last, **more.row("added_s")})
    return pd.DataFrame(rows)


def ttft(turns: pd.DataFrame, bins: Sequence[int]) -> Chart:
    """Draws by how much later the first token comes than with a stable history.

    The edit in the hook is left out: its reply is begun anew, with random draws of its own.
    """
    arms = [STABLE, NOTED, "truncated", "summarised"]
    points = added(turns[turns["arm"].isin(arms)], "first_token_s", bins)
    return figures.lines(
        points, "turn_number", "added_s", "arm", x_name="turns of the call, up to",
        y_name="TTFT above that of a stable history",
    )  # fmt: skip


def by_length(turns: pd.DataFrame, lengths: Sequence[int]) -> pd.DataFrame:
    """What each arm of OpenAI's adds to the mean response latency in calls of so many turns, ms.

    The first turns of a long call are those of a short one, so a call is cut rather than run anew.

    Returns:
        A row per arm and a column per length: the added ms with their 95% CI.
    """
    names = [a for a in turns["arm"].unique() if a != STABLE and not a.endswith(HAIKU)]
    table = {
        arm: {
            f"{n} turns": ms_ci(_difference(turns[turns["turn_number"] <= n], arm)) for n in lengths
        }
        for arm in names
    }
    return titled(pd.DataFrame(table).T, "added to the response latency (ms)")


def harms(runs: Mapping[str, pd.DataFrame], limit: float) -> Chart:
    """Draws what each restless history of OpenAI's costs, compared with the stable one."""
    restless = {name: runs[name] for name in (NOTED, *RESTLESS)}
    return figures.harms(runs[STABLE], restless, HARMS, limit=limit)


def _difference(
    turns: pd.DataFrame, arm: str, column: str = "response_latency_s"
) -> statistics.Estimate:
    before, after = (turns[turns["arm"] == name] for name in (STABLE, arm))
    return statistics.difference(before, after, column)


def judge(results: Results, rules: Rules) -> pd.DataFrame:
    """The kept order compared with the renewed line; the other histories with the stable one."""
    runs = by_arm(read(results.turns))
    pairs = (
        (NOTED, {KEPT: runs[STABLE]}),
        (NOTED + HAIKU, {KEPT_HAIKU: runs[STABLE + HAIKU]}),
        (STABLE, {name: runs[name] for name in RESTLESS}),
    )
    parts = [compare(runs[b], arms, harm="lost_context", rules=rules) for b, arms in pairs]
    return pd.concat(parts, ignore_index=True)


def verdict_rows(comparison: pd.DataFrame, claim: Claim) -> pd.DataFrame:
    """What the study says of each treatment of the history."""
    claimed = {KEPT: claim, KEPT_HAIKU: claim}
    return verdicts.rows(comparison, claim=claimed, harm="answers that lost what they needed")
