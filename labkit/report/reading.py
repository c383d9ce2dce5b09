"""What a study reads off its tables: which turn to look at, small tables, sentences with numbers.

Notebooks print what these return, so no number in their prose is typed by hand. Tables here are for
reading: milliseconds and per cent. The tables of a run keep seconds and shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.anchors import Anchor
from labkit.evidence.statistics import Estimate
from labkit.evidence.summary import OUTCOMES, ms, percent
from labkit.report.stages import difference_means, sdk_difference

_TICK_S = 0.005
"""Two waits closer than this are the same wait."""


def typical_turns(turns: pd.DataFrame, delay_s: float) -> pd.DataFrame:
    """Turns worth a look, as a table of one or two rows.

    Args:
        turns: The turns table.
        delay_s: A wait before the commit, seconds.

    Returns:
        The answered turn whose latency is closest to the median of all; then the same among the
        turns that waited ``delay_s``, if there are any. Column ``example`` says which is which.
    """
    answered = turns[turns["residual_s"].notna() & turns["sdk_e2e_latency_s"].notna()]
    groups = {
        "A typical turn": answered,
        f"A turn that waited {ms(delay_s)} ms": answered[waited(answered, delay_s)],
    }
    rows = []
    for name, group in groups.items():
        if len(group):
            away = (group["response_latency_s"] - group["response_latency_s"].median()).abs()
            rows.append(group.loc[[away.idxmin()]].assign(example=name))
    return pd.concat(rows)


def waited(turns: pd.DataFrame, delay_s: float) -> pd.Series:
    """Whether the SDK committed the turn exactly this long after the speech ended (within 5 ms)."""
    return (turns["sdk_end_of_turn_delay_s"] - delay_s).abs() < _TICK_S


def latency_table(turns: pd.DataFrame) -> pd.DataFrame:
    """Quantiles of the response latency and of the SDK's own figure, ms with 95% intervals."""
    both = turns[turns["sdk_e2e_latency_s"].notna()]
    ear = "response_latency_s"
    wanted = {"at the caller's ear": (turns, ear)}
    if len(both) < turns[ear].notna().sum():
        wanted["the same, on turns with an SDK figure"] = (both, ear)
    wanted["the SDK's e2e_latency"] = (both, "sdk_e2e_latency_s")
    rows = {}
    for name, (part, column) in wanted.items():
        found = {f"p{p}": statistics.quantile(part, p / 100, column) for p in (50, 95)}
        rows[name] = {p: _with_interval(e) for p, e in found.items()}
        rows[name]["turns"] = str(found["p50"].n)
    return _titled(pd.DataFrame.from_dict(rows, orient="index"), "response latency (ms)")


def outcome_table(turns: pd.DataFrame) -> pd.DataFrame:
    """How turns ended, as shares with 95% intervals, and what they cost per turn."""
    rows = []
    for outcome in OUTCOMES:
        share = statistics.rate(turns, turns["outcome"] == outcome)
        rows.append((f"{outcome.replace('_', ' ')} (share of turns)", percent(share.value),
                     f"{percent(share.low)} – {percent(share.high)}"))  # fmt: skip
    costs = {"llm_calls": ("LLM calls", 1.0, ".2f"),
             "llm_wasted_tokens": ("LLM tokens generated, never spoken", 1.0, ".1f"),
             "tts_characters": ("TTS characters", 1.0, ".0f"),
             "usd": ("US cents", 100.0, ".4f")}  # fmt: skip
    for column, (name, factor, form) in costs.items():
        e = statistics.mean(turns, column)
        value, low, high = (format(factor * v, form) for v in (e.value, e.low, e.high))
        rows.append((f"{name} per turn", value, f"{low} – {high}"))
    table = pd.DataFrame(rows, columns=["outcome", "value", "95% interval"])
    return _titled(table.set_index("outcome"), "outcome")


def difference_table(
    turns: pd.DataFrame, settings: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """What the SDK's figure leaves out, part by part: mean ms, interval, share, owner."""
    means = difference_means(turns, settings)
    whole = float(means["mean_s"].iloc[-1])
    table = pd.DataFrame(
        {
            "owner": means["owner"],
            "mean (ms)": (means["mean_s"] * 1000).round(1),
            "95% interval": [f"{1000 * low:,.1f} – {1000 * high:,.1f}" for low, high
                             in zip(means["low_s"], means["high_s"], strict=True)],
            "share of the gap": [percent(float(v) / whole) for v in means["mean_s"]],
        }
    )  # fmt: skip
    return _titled(table.set_index(means["name"]), "what the SDK leaves out")


def waited_table(turns: pd.DataFrame, delay_s: float, rows: int = 8) -> pd.DataFrame:
    """Which sentences made the turn detector wait, the most frequent first."""
    table = turns.assign(waited=waited(turns, delay_s)).groupby("said")["waited"]
    found = pd.DataFrame({"times said": table.size(), "of these waited": table.sum()})
    found = found[found["of these waited"] > 0].sort_values(
        ["of these waited", "times said"], ascending=[False, True], kind="stable"
    )
    return _titled(found.head(rows), "the caller said")


def anchor_table(anchors: Iterable[Anchor]) -> pd.DataFrame:
    """Published figures with their sources; ms."""
    rows = []
    for a in anchors:
        band = f"{ms(a.low_s)} – {ms(a.high_s)}" if a.high_s > a.low_s else ""
        rows.append({"published": a.name, "at": f"p{a.quantile * 100:g}",
                     "ms": ms(a.value_s) if a.value_s is not None else band,
                     "range": band if a.value_s is not None else "",
                     "measured on": a.note, "source": f"{a.source}, {a.date}"})  # fmt: skip
    return _titled(pd.DataFrame(rows).set_index("published"), "published")


def provenance_table(results: Results) -> pd.DataFrame:
    """Where the tables come from: run, code, packages, data and machine."""
    flat: dict[str, str] = {}
    for key, value in {**results.provenance, "digest": results.digest}.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}: {name}": str(v) for name, v in value.items()}
            if not value:
                flat[key] = "all at their defaults"
        else:
            flat[key] = str(value)
    return _titled(pd.DataFrame({"value": flat}), "provenance")


def read_turns(examples: pd.DataFrame) -> str:
    """A sentence per turn: what was said, how long it took, what the SDK reported."""
    lines = []
    for _, row in examples.iterrows():
        missing = row["response_latency_s"] - row["sdk_e2e_latency_s"]
        lines.append(
            f"- {row['example']}: “{row['said']}” was answered after "
            f"**{ms(row['response_latency_s'])} ms**. The SDK's own `e2e_latency` is "
            f"{ms(row['sdk_e2e_latency_s'])} ms, {ms(missing)} ms less."
        )
    return "\n".join(lines)


def read_wait(turns: pd.DataFrame, delay_s: float, probe: pd.DataFrame, probe_s: float) -> str:
    """Sentences about the slow mode, and about what became of it when its delay was changed."""
    slow, moved = waited(turns, delay_s), waited(probe, probe_s)
    share, after = statistics.rate(turns, slow), statistics.rate(probe, moved)
    saved = statistics.difference(probe[moved], turns[slow]) if slow.any() and moved.any() else None
    text = (
        f"On **{percent(share.value)}** of turns (95% interval {percent(share.low)}–"
        f"{percent(share.high)}) the agent committed exactly {ms(delay_s)} ms after the end of "
        f"speech: its median latency there is {ms(turns[slow]['response_latency_s'].median())} ms, "
        f"against {ms(turns[~slow]['response_latency_s'].median())} ms on the others."
    )
    if saved is None:
        return text
    left = int(waited(probe, delay_s).sum())
    text += (
        f" With `endpointing.max_delay_s` at {ms(probe_s)} ms and nothing else changed, "
        f"{left or 'no'} turns wait {ms(delay_s)} ms and {percent(after.value)} wait exactly "
        f"{ms(probe_s)} ms; the median of the group falls by {_with_interval(saved)} ms."
    )
    if not left:
        text += (
            " So the mode is that setting, applied when the turn detector doubts that the caller "
            "has finished."
        )
    return text


def read_gap(turns: pd.DataFrame, published: Anchor) -> str:
    """A sentence about how far the SDK's figure reads low, beside a published gap."""
    split = sdk_difference(turns)
    gap = statistics.quantile(split, 0.5, "difference_s")
    answered = int(turns["residual_s"].notna().sum())
    text = (
        f"The SDK's `e2e_latency` reads **{_with_interval(gap)} ms** low at the median "
        f"({gap.n} turns). Published for a hosted agent: {ms(published.low_s)}–"
        f"{ms(published.high_s)} ms ({published.source}, {published.date})."
    )
    if gap.n < answered:
        text += (
            f" It gave no figure for {answered - gap.n} of the {answered} answered turns: those "
            f"that it heard as more than one message."
        )
    return text


def _titled(table: pd.DataFrame, title: str) -> pd.DataFrame:
    """Writes a name above the row names, in the same line as the columns' names."""
    return table.rename_axis(None).rename_axis(title, axis="columns")


def _with_interval(found: Estimate) -> str:
    return f"{ms(found.value)} [{ms(found.low)}–{ms(found.high)}]"
