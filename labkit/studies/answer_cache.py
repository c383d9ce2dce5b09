"""Reads a semantic-cache experiment: hits, wrong answers, answers of somebody else's, said twice.

What the cache finds depends on words alone, so it can be tried on every wording that the dialogues
have, at every threshold, with the code that the agent runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from labkit.evidence import statistics
from labkit.evidence.agent_parts import load, vectors
from labkit.paths import agents_dir
from labkit.world.dialogue import load_dialogues

KINDS = {
    "same words": "a known question as it is known",
    "other words": "a known question in other words",
    "near miss": "something close to a turn that deserves another answer",
    "other turn": "anything else that callers say",
}
"""What may be asked, and what it is to the cache."""


def known() -> dict[tuple[str, str], str]:
    """The answers that the cache begins with, by tenant and question."""
    table = json.loads((agents_dir() / "known_answers.json").read_text(encoding="utf-8"))
    return {(e["tenant"], e["question"]): e["answer"] for e in table}


def judged(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns with what the cache did to them.

    Args:
        turns: Turns of arms with and without a cache. Those of several personas may be among them;
            their calls are numbered apart.

    Returns:
        The same rows plus ``hit``, ``wrong`` (a hit with another than the right answer), ``leaked``
        (a hit with the answer of another business), ``twice`` (a hit after which the agent spoke
        once more in the same turn) and ``harmed`` (wrong or twice).
    """
    dialogues, answers = load_dialogues(), known()
    rows = []
    for row in turns.to_dict("records"):
        hit = row.get("agent_hit") is True
        wrong = leaked = False
        if hit:
            dialogue = dialogues[str(row["dialogue"])]
            owner, question = str(row["agent_hit_tenant"]), str(row["agent_hit_question"])
            right = dialogue.turn(str(row["turn_id"])).right_reply(str(row["variant"]))
            wrong, leaked = answers[owner, question] != right, owner != dialogue.tenant
        twice = hit and row["n_agent_messages"] > 1
        rows.append({"hit": hit, "wrong": wrong, "leaked": leaked, "twice": twice,
                     "harmed": wrong or twice})  # fmt: skip
    persona = pd.factorize(turns["persona"])[0]
    call = turns["call"] + 10_000 * persona
    return pd.concat([turns.assign(call=call), pd.DataFrame(rows, index=turns.index)], axis=1)


def hit_in(turns: pd.DataFrame, arm: str) -> pd.Series:
    """Which turns, of all arms, were hits in one of them: callers say the same in each.

    Args:
        turns: What :func:`judged` returned.
        arm: The arm whose hits are meant.
    """
    keys = ["call", "turn"]
    hits = pd.MultiIndex.from_frame(turns.loc[(turns["arm"] == arm) & turns["hit"], keys])
    return pd.Series(pd.MultiIndex.from_frame(turns[keys]).isin(hits), turns.index)


def on_hits(turns: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The turns with the latency of all but one arm's hits blanked: savings are then those on hits,
    harms still those on all turns."""
    latency = turns["response_latency_s"].where(hit_in(turns, arm))
    return turns.assign(response_latency_s=latency)


def by_share(turns: pd.DataFrame, baseline: str, arm: str) -> pd.DataFrame:
    """What a cache saves persona by persona: the more hits, the more over all turns.

    Returns:
        Per persona, for printing: the share of hits; what is saved on hits and on misses at the
        median; how many misses became two turns or more; and in the mean, to which rare long delays
        count, on misses and on all turns.
    """
    keys = ["call", "turn"]
    rows = {}
    for persona, part in turns.groupby("persona", sort=False):
        before, after = (part[part["arm"] == name] for name in (baseline, arm))
        both = before[[*keys, "response_latency_s"]].merge(
            after[[*keys, "hit", "n_user_messages", "response_latency_s"]],
            on=keys,
            suffixes=("_before", ""),
        )
        both["saved_s"] = both["response_latency_s_before"] - both["response_latency_s"]
        hits, misses = both[both["hit"]], both[~both["hit"]]
        rows[str(persona)] = {
            "hits (%)": _percent(both, both["hit"]),
            "saved on hits, p50 (ms)": _ms(statistics.quantile(hits, 0.5, "saved_s")),
            "on misses, p50 (ms)": _ms(statistics.quantile(misses, 0.5, "saved_s")),
            "misses heard in pieces (%)": _percent(misses, misses["n_user_messages"] > 1),
            "on misses, mean (ms)": _ms(statistics.mean(misses, "saved_s")),
            "on all turns, mean (ms)": _ms(statistics.mean(both, "saved_s")),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("callers", axis="columns")


def _percent(turns: pd.DataFrame, happened: pd.Series) -> str:
    share = statistics.rate(turns, happened)
    if not share.n:
        return "–"
    value, low, high = (100 * v for v in (share.value, share.low, share.high))
    return f"{value:.0f} [{low:.0f} – {high:.0f}]"


def _ms(found: statistics.Estimate) -> str:
    if not found.n:
        return "–"
    # plus zero, so that a rounded nothing has no minus sign
    value, low, high = (round(1000 * v) + 0 for v in (found.value, found.low, found.high))
    return f"{value:,.0f} [{low:,.0f} – {high:,.0f}]"


FATES = (
    "heard after the cached one",
    "cuts into the caller's next turn",
    "never heard, but paid for",
)


def second_answers(turns: pd.DataFrame, by: str) -> pd.DataFrame:
    """What becomes of the model's answer that follows a cached one.

    Args:
        turns: Turns of an arm that lets both be spoken, as :func:`judged` returned them.
        by: A swept column.

    Returns:
        One row per value and fate: ``by``, ``fate``, ``hit_share`` (of hits with a turn after
        them), ``low``, ``high``, ``n``.
    """
    rows: list[dict[str, Any]] = []
    for value, part in turns.groupby(by):
        later = part.sort_values(["call", "turn"])
        next_cut = (later["outcome"] == "premature").groupby(later["call"]).shift(-1)
        hits = later.assign(next_cut=next_cut)[later["hit"] & next_cut.notna()]
        cut = hits["next_cut"].astype(bool)
        happened = dict(zip(FATES, (hits["twice"] & ~cut, cut, ~hits["twice"] & ~cut), strict=True))
        for fate, which in happened.items():
            found = statistics.rate(hits, which)
            rows.append({by: value, "fate": fate, "hit_share": found.value, "low": found.low,
                         "high": found.high, "n": found.n})  # fmt: skip
    return pd.DataFrame(rows)


def material() -> pd.DataFrame:
    """Every wording of the dialogues as a question to the cache.

    Returns:
        One row per wording: ``call`` (a number per business, for intervals), ``tenant``, ``kind``
        (one of :data:`KINDS`), ``text``, ``right_reply``.
    """
    rows: list[dict[str, Any]] = []
    questions = known()
    for number, dialogue in enumerate(load_dialogues().values()):
        for turn in dialogue.turns:
            is_known = (dialogue.tenant, turn.text()) in questions
            spoken = [turn.text(v) for v in ("fluent", "hesitant", "terse") if v in turn.variants]
            asked = [(t, turn.reply) for t in (*dict.fromkeys(spoken), *turn.paraphrases)]
            kinds = ["other words" if is_known else "other turn"] * len(asked)
            kinds[0] = "same words" if is_known else kinds[0]
            asked += [(m.text, m.reply) for m in turn.near_misses]
            kinds += ["near miss"] * len(turn.near_misses)
            for kind, (text, reply) in zip(kinds, asked, strict=True):
                rows.append({"call": number, "tenant": dialogue.tenant, "kind": kind,
                             "text": text, "right_reply": reply})  # fmt: skip
    return pd.DataFrame(rows)


def lookups(asked: pd.DataFrame, *, by_tenant: bool = True) -> pd.DataFrame:
    """What the agent's cache finds for questions, whatever the threshold.

    Args:
        asked: Columns ``tenant``, ``text`` and ``right_reply``.
        by_tenant: Whether the cache looks at the asker's own entries only.

    Returns:
        The same rows plus ``similarity``, ``agrees`` (the guard would let it pass), ``found`` (the
        known question), ``wrong`` and ``leaked`` (what a hit would be).
    """
    part = load("_answer_cache")
    entries = [part.Entry(t, q, a) for (t, q), a in known().items()]
    cache = part.AnswerCache(_Vectors(), entries, by_tenant=by_tenant)
    rows = []
    of_texts = vectors(asked["text"].tolist())
    for row, vector in zip(asked.to_dict("records"), of_texts, strict=True):
        found = cache.find_vector(vector, row["text"], row["tenant"])
        entry = found.entry if found else None
        rows.append({
            "similarity": found.similarity if found else -1.0,
            "agrees": bool(found and found.agrees),
            "found": entry.question if entry else "",
            "wrong": entry is not None and entry.answer != row["right_reply"],
            "leaked": entry is not None and entry.tenant != row["tenant"],
        })  # fmt: skip
    return pd.concat([asked, pd.DataFrame(rows, index=asked.index)], axis=1)


def curves(thresholds: Sequence[float]) -> pd.DataFrame:
    """Hits, wrong answers and leaks at every threshold, over every wording of the dialogues.

    Returns:
        One row per threshold, cache and measure: ``threshold``, ``cache`` (how it is built),
        ``measure``, ``asked_share``, ``low``, ``high``, ``n`` (wordings). A share is taken of the
        wordings that the measure speaks of. Intervals resample businesses.
    """
    asked = material()
    keyed, shared = lookups(asked), lookups(asked, by_tenant=False)
    caches = {
        "shared by all tenants": (shared, False),
        "one per tenant": (keyed, False),
        "one per tenant, guarded": (keyed, True),
    }
    rows: list[dict[str, Any]] = []
    for cache, (table, guard) in caches.items():
        for threshold in thresholds:
            hit = (table["similarity"] >= threshold) & (table["agrees"] | (not guard))
            measures = {
                "other words, answered right": ("other words", hit & ~table["wrong"]),
                "near miss, answered wrongly": ("near miss", hit & table["wrong"]),
                "other turn, answered": ("other turn", hit),
                "another business's answer": (None, hit & table["leaked"]),
            }
            for measure, (kind, happened) in measures.items():
                of = table["kind"] == kind if kind else table["kind"].isin(KINDS)
                found = statistics.rate(table[of], happened[of])
                rows.append({"threshold": threshold, "cache": cache, "measure": measure,
                             "asked_share": found.value, "low": found.low, "high": found.high,
                             "n": found.n})  # fmt: skip
    return pd.DataFrame(rows)


def slips(threshold: float) -> pd.DataFrame:
    """What the guarded cache of each tenant would still answer wrongly at a threshold."""
    table = lookups(material())
    wrong = table[(table["similarity"] >= threshold) & table["agrees"] & table["wrong"]]
    shown = wrong[["tenant", "text", "found", "similarity"]].sort_values("similarity")
    return shown.iloc[::-1].reset_index(drop=True)


class _Vectors:
    """What the cache needs of an embedder, from the ones computed already."""

    @staticmethod
    def embed(texts: list[str]) -> Any:
        return vectors(texts)
