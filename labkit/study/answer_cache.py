"""Reads a semantic-cache experiment: hits, wrong answers, answers of somebody else's, said twice.

What the cache finds depends on words alone, so it can be tried on every wording that the dialogues
have, at every threshold, with the code that the agent runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from labkit.callers.dialogue import load_dialogues
from labkit.paths import agents_dir
from labkit.study import statistics
from labkit.study.agent_parts import load, vectors

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
        turns: Turns of arms with and without a cache.

    Returns:
        The same rows plus ``hit``, ``wrong`` (a hit with another than the right answer), ``leaked``
        (a hit with the answer of another business) and ``twice`` (a hit after which the agent spoke
        once more in the same turn).
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
        rows.append({"hit": hit, "wrong": wrong, "leaked": leaked, "twice": twice})
    return pd.concat([turns, pd.DataFrame(rows, index=turns.index)], axis=1)


def on_hits(turns: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The turns, of all arms, that were hits in one of them: the same callers say the same there.

    Args:
        turns: What :func:`judged` returned.
        arm: The arm whose hits are meant.
    """
    keys = ["dialogue", "turn_id", "variant"]
    hits = turns.loc[(turns["arm"] == arm) & turns["hit"], keys].drop_duplicates()
    wanted = pd.MultiIndex.from_frame(hits)
    return turns[pd.MultiIndex.from_frame(turns[keys]).isin(wanted)].reset_index(drop=True)


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
            "wrong": bool(entry) and entry.answer != row["right_reply"],
            "leaked": bool(entry) and entry.tenant != row["tenant"],
        })  # fmt: skip
    return pd.concat([asked, pd.DataFrame(rows, index=asked.index)], axis=1)


def curves(thresholds: Sequence[float]) -> pd.DataFrame:
    """Hits, wrong answers and leaks at every threshold, over every wording of the dialogues.

    Returns:
        One row per threshold, cache and measure: ``threshold``, ``cache`` (how it is built),
        ``measure``, ``share``, ``low``, ``high``, ``n`` (wordings). A share is taken of the wordings
        that the measure speaks of. Intervals resample businesses.
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
                             "share": found.value, "low": found.low, "high": found.high,
                             "n": found.n})  # fmt: skip
    return pd.DataFrame(rows)


def slips(threshold: float) -> pd.DataFrame:
    """What the guarded cache of each tenant would still answer wrongly at a threshold."""
    table = lookups(material())
    wrong = table[(table["similarity"] >= threshold) & table["agrees"] & table["wrong"]]
    shown = wrong[["tenant", "text", "found", "similarity"]].sort_values("similarity")
    return shown.iloc[::-1].reset_index(drop=True)


def by_hit(turns: pd.DataFrame) -> pd.DataFrame:
    """Median latency of each arm where the cache answered and where it did not.

    Args:
        turns: What :func:`judged` returned, with ``group`` (``hit`` or ``miss``), the same for a
            turn in all arms.

    Returns:
        One row per arm and group: ``arm``, ``group``, ``p50_s``, ``low_s``, ``high_s``, ``n_turns``.
    """
    rows = []
    for (arm, group), part in turns.groupby(["arm", "group"], sort=False):
        found = statistics.quantile(part, 0.5)
        rows.append({"arm": arm, "group": group, "p50_s": found.value, "low_s": found.low,
                     "high_s": found.high, "n_turns": len(part)})  # fmt: skip
    return pd.DataFrame(rows)


class _Vectors:
    """What the cache needs of an embedder, from the ones computed already."""

    @staticmethod
    def embed(texts: list[str]) -> Any:
        return vectors(texts)
