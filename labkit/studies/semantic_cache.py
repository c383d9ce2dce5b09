"""Study 10: a semantic cache: hits, wrong answers, leaks between tenants, double answers.

What the cache finds depends on words alone, so it can be tried on every wording that the dialogues
have, at every threshold, with the code that the agent runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import statistics
from labkit.evidence.agent_parts import load, vectors
from labkit.evidence.claims import Claim
from labkit.evidence.compare import by_arm, compare
from labkit.evidence.units import ms_ci, percent_ci
from labkit.evidence.verdict import Rules
from labkit.paths import agents_dir
from labkit.report import figures, verdicts
from labkit.report.figures import Chart
from labkit.world.dialogue import load_dialogues

NONE, PUBLISHED, RIGHT, AUDIO = "no cache", "as published", "done right", "done right, cached audio"
DIFFERS = {PUBLISHED: "nothing stops the model's answer, which follows the cached one"}
HARMS = {"wrong answer": "wrong", "another business's": "leaked", "two answers": "twice"}
COSTS = {
    "LLM tokens never spoken": "llm_wasted_tokens",
    "characters spoken": "tts_characters",
    "cost": "usd",
}
PAUSE = "caller.gap_s"
FATES = (
    "heard after the cached one",
    "overlaps the caller's next turn",
    "never heard, but paid for",
)

_KEYS = ["call", "turn"]


def arms(threshold: float, published_threshold: float) -> dict[str, Arm]:
    """No cache, the guide's, and ours: whole, with cached audio, and without each of its guards."""
    published = {
        "agent.variant": "as_published",
        "agent.threshold": published_threshold,
        "agent.by_tenant": False,
        "agent.guard": False,
    }
    right = {"agent.threshold": threshold}
    return {
        NONE: Arm("vanilla"),
        PUBLISHED: Arm("semantic_cache", published),
        RIGHT: Arm("semantic_cache", right),
        AUDIO: Arm("semantic_cache", {**right, "agent.cached_audio": True}),
        "without the guard": Arm("semantic_cache", {**right, "agent.guard": False}),
        "without the tenant": Arm("semantic_cache", {**right, "agent.by_tenant": False}),
    }


def two(threshold: float) -> dict[str, Arm]:
    """No cache, and ours with cached audio."""
    every = arms(threshold, threshold)
    return {name: every[name] for name in (NONE, AUDIO)}


def both_spoken(threshold: float) -> dict[str, Arm]:
    """Our cache, but as published the hook does not stop the model's own answer."""
    settings = {"agent.threshold": threshold, "agent.variant": "as_published"}
    return {"both spoken": Arm("semantic_cache", settings)}


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
        The same rows plus ``hit``, ``wrong`` (a hit with a wrong answer), ``leaked``
        (a hit with the answer of another business), ``twice`` (a hit after which the agent spoke
        again in the same turn) and ``harmed`` (wrong or twice).
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
    call = turns["call"] + 10_000 * pd.factorize(turns["persona"])[0]
    return pd.concat([turns.assign(call=call), pd.DataFrame(rows, index=turns.index)], axis=1)


def on_hits(turns: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The turns of each arm, with the latency of all but the hits of :data:`RIGHT` blanked.

    Callers say the same in each arm. Savings are then those on hits, harms those on all turns.
    """
    hits = pd.MultiIndex.from_frame(turns.loc[(turns["arm"] == RIGHT) & turns["hit"], _KEYS])
    hit = pd.MultiIndex.from_frame(turns[_KEYS]).isin(hits)
    blanked = turns.assign(response_latency_s=turns["response_latency_s"].where(hit))
    return by_arm(blanked)


def compared(results: Results, rules: Rules) -> pd.DataFrame:
    """Each cache against none: what a hit saves, and whom it harms."""
    hits = on_hits(judged(results.turns))
    return compare(hits[NONE], hits, harm="harmed", rules=rules)


def by_persona(turns: pd.DataFrame, name: str = "{}") -> pd.DataFrame:
    """What cached audio saves persona by persona: the more hits, the more over all turns.

    Args:
        name: What a row is called; the persona stands for ``{}``.

    Returns:
        Per persona, for printing: the proportion of hits; what is saved on hits and on misses at
        the median; how many misses became two turns or more; and in the mean, to which rare long
        delays count, on misses and on all turns.
    """
    rows = {}
    for persona, part in turns.groupby("persona", sort=False):
        before, after = (part[part["arm"] == arm] for arm in (NONE, AUDIO))
        both = before[[*_KEYS, "response_latency_s"]].merge(
            after[[*_KEYS, "hit", "n_user_messages", "response_latency_s"]],
            on=_KEYS,
            suffixes=("_before", ""),
        )
        both["saved_s"] = both["response_latency_s_before"] - both["response_latency_s"]
        hits, misses = both[both["hit"]], both[~both["hit"]]
        pieces = misses["n_user_messages"] > 1
        rows[name.format(persona)] = {
            "hits": percent_ci(statistics.rate(both, both["hit"]), 0),
            "saved on hits, p50 (ms)": ms_ci(statistics.quantile(hits, 0.5, "saved_s")),
            "on misses, p50 (ms)": ms_ci(statistics.quantile(misses, 0.5, "saved_s")),
            "misses heard in pieces": percent_ci(statistics.rate(misses, pieces), 0),
            "on misses, mean (ms)": ms_ci(statistics.mean(misses, "saved_s")),
            "on all turns, mean (ms)": ms_ci(statistics.mean(both, "saved_s")),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("callers", axis="columns")


def second_answers(turns: pd.DataFrame) -> Chart:
    """Draws what becomes of the model's answer that follows a cached one, against the pause.

    Returns:
        The numbers have one row per pause and fate: :data:`PAUSE`, ``fate``, ``hit_share`` (of hits
        with a turn after them), ``low``, ``high``, ``n``.
    """
    rows: list[dict[str, Any]] = []
    for pause_s, part in turns.groupby(PAUSE):
        later = part.sort_values(_KEYS)
        next_cut = (later["outcome"] == "premature").groupby(later["call"]).shift(-1)
        hits = later.assign(next_cut=next_cut)[later["hit"] & next_cut.notna()]
        cut = hits["next_cut"].astype(bool)
        fates = (hits["twice"] & ~cut, cut, ~hits["twice"] & ~cut)
        for fate, happened in zip(FATES, fates, strict=True):
            e = statistics.rate(hits, happened)
            rows.append({PAUSE: pause_s, "fate": fate, **e.row("hit_share"), "n": e.n})
    points = pd.DataFrame(rows)
    return figures.lines(
        points, PAUSE, "hit_share", "fate", x_name="median pause of callers before they go on",
        y_name="hits",
    )  # fmt: skip


def material() -> pd.DataFrame:
    """Every wording of the dialogues as a question to the cache.

    Returns:
        One row per wording: ``call`` (a number per business, for intervals), ``tenant``, ``kind``
        (``same words`` or ``other words`` of a known question, ``near miss``: close to a turn that
        deserves another answer, ``other turn``), ``text``, ``right_reply``.
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
        by_tenant: Whether the cache looks at the asker's own entries only.

    Returns:
        The same rows plus ``similarity``, ``agrees`` (the guard would let it pass), ``match`` (the
        known question), ``wrong`` and ``leaked`` (what a hit would be).
    """
    part = load("_answer_cache")
    entries = [part.Entry(t, q, a) for (t, q), a in known().items()]
    cache = part.AnswerCache(_Vectors(), entries, by_tenant=by_tenant)
    rows = []
    of_texts = vectors(asked["text"].tolist())
    for row, vector in zip(asked.to_dict("records"), of_texts, strict=True):
        match = cache.find_vector(vector, row["text"], row["tenant"])
        entry = match.entry if match else None
        rows.append({
            "similarity": match.similarity if match else -1.0,
            "agrees": bool(match and match.agrees),
            "match": entry.question if entry else "",
            "wrong": entry is not None and entry.answer != row["right_reply"],
            "leaked": entry is not None and entry.tenant != row["tenant"],
        })  # fmt: skip
    return pd.concat([asked, pd.DataFrame(rows, index=asked.index)], axis=1)


def curves(values: Sequence[float]) -> pd.DataFrame:
    """Hits, wrong answers and leaks at every threshold, over every wording of the dialogues.

    Returns:
        One row per threshold, cache and measure: ``threshold``, ``cache`` (how it is built),
        ``measure``, ``asked_share``, ``low``, ``high``, ``n`` (wordings). A proportion is that of
        the wordings that the measure speaks of. Intervals resample businesses.
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
        for threshold in values:
            hit = (table["similarity"] >= threshold) & (table["agrees"] | (not guard))
            measures = {
                "other words, answered right": ("other words", hit & ~table["wrong"]),
                "near miss, answered wrongly": ("near miss", hit & table["wrong"]),
                "other turn, answered": ("other turn", hit),
                "another business's answer": (None, hit & table["leaked"]),
            }
            for measure, (kind, happened) in measures.items():
                of = table["kind"] == kind if kind else table["kind"].notna()
                e = statistics.rate(table[of], happened[of])
                rows.append({"threshold": threshold, "cache": cache, "measure": measure,
                             **e.row("asked_share"), "n": e.n})  # fmt: skip
    return pd.DataFrame(rows)


def thresholds(values: Sequence[float]) -> Chart:
    """Draws what :func:`curves` returns, a panel for each cache."""
    points = curves(values)
    return figures.lines(
        points, "threshold", "asked_share", "measure", "cache",
        x_name="similarity from which an answer is given", y_name="wordings",
    )  # fmt: skip


def slips(threshold: float) -> pd.DataFrame:
    """What the guarded cache of each tenant would still answer wrongly at a threshold."""
    table = lookups(material())
    wrong = table[(table["similarity"] >= threshold) & table["agrees"] & table["wrong"]]
    shown = wrong[["tenant", "text", "match", "similarity"]].sort_values("similarity")
    return shown.iloc[::-1].reset_index(drop=True)


class _Vectors:
    """What the cache needs of an embedder, from the ones computed already."""

    @staticmethod
    def embed(texts: list[str]) -> Any:
        return vectors(texts)


def verdict_rows(comparison: pd.DataFrame, claim: Claim) -> pd.DataFrame:
    """What the study says of each cache."""
    return verdicts.rows(comparison, claim=claim, harm="wrong answer, or two", differs=DIFFERS)
