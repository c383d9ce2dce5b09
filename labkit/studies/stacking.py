"""Do savings stack? The arms of that study, which of them earned their place, and what adds up."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from labkit.engine.experiment import Arm
from labkit.engine.tables import Results
from labkit.evidence import overlap, statistics
from labkit.evidence.claims import Claim
from labkit.evidence.compare import harmed
from labkit.evidence.paired import savings

AGENT = "stacked"
ALL = "all adopted"
SUM = "sum of single savings"
NONE = "none"
DEFAULTS = "defaults"
_WITHOUT = "without "
_KEY = ["call", "turn"]


def stack(techniques: Iterable[str], **settings: object) -> Arm:
    """The arm that uses these techniques and nothing else."""
    named = "+".join(techniques) or NONE
    return Arm(AGENT, {"agent.techniques": named, **settings})


def singles(techniques: Sequence[str], **settings: object) -> dict[str, Arm]:
    """One arm for each technique alone."""
    return {name: stack([name], **settings) for name in techniques}


def combinations(techniques: Sequence[str]) -> dict[str, Arm]:
    """All techniques together (which may be none), and all but one of them."""
    arms = {ALL: stack(techniques)}
    if len(techniques) > 1:
        arms |= {f"{_WITHOUT}{n}": stack(t for t in techniques if t != n) for n in techniques}
    return arms


def pairs(techniques: Sequence[str]) -> dict[str, Arm]:
    """One arm for each two techniques together."""
    return {f"{a}+{b}": stack([a, b]) for a, b in itertools.combinations(techniques, 2)}


def judged(results: Results) -> dict[str, pd.DataFrame]:
    """Each arm's turns with ``wrong`` (another answer than the right one) and ``harmed``.

    A turn is harmed in which the caller was cut in on, got no reply, or got a wrong one.
    """
    return {name: _judged(arm.turns) for name, arm in results.arms.items()}


def _judged(turns: pd.DataFrame) -> pd.DataFrame:
    wrong = turns["reply_right"] == 0
    bad = harmed(turns) | wrong
    return turns.assign(wrong=wrong.astype(float), harmed=bad.astype(float))


def _harm(turns: pd.DataFrame) -> dict[str, float]:
    """The share of harmed turns with its interval; latencies leave most of these turns out."""
    found = statistics.rate(turns, turns["harmed"] == 1)
    return {"harm": found.value, "harm_low": found.low, "harm_high": found.high}


def all_rows(alone: pd.DataFrame, together: pd.DataFrame) -> pd.DataFrame:
    """Both comparisons below each other, with the stack first."""
    return pd.concat([together, alone], ignore_index=True)


def predicted(
    first: Results, second: Results, parts: Results, techniques: Sequence[str]
) -> pd.DataFrame:
    """What :func:`additivity` finds of three runs.

    Args:
        first: Has the arms ``defaults`` and each technique.
        second: Has the arm :data:`ALL`.
        parts: ``defaults`` and each technique, with preemption off.
        techniques: Those that are in the stack.
    """
    parts_of = {name: overlap.parts(arm.turns) for name, arm in parts.arms.items()}
    alone, modes = first.arms, {"preemptive_tts": "tts"}
    return additivity(
        alone["defaults"].turns,
        {name: alone[name].turns for name in parts_of if name != "defaults"},
        second.arms[ALL].turns,
        parts_of.pop("defaults"),
        parts_of,
        stacked=techniques,
        modes=modes,
    )


def adopted(*comparisons: pd.DataFrame) -> list[str]:
    """The arms that earned their place: *adopt* by one measure at least, *reject* by none.

    Args:
        comparisons: Of the same arms, each with its verdicts on another quantile, or the mean.
    """
    verdicts = pd.DataFrame({i: c.set_index("arm")["verdict"] for i, c in enumerate(comparisons)})
    good = (verdicts == "adopt").any(axis=1) & (verdicts != "reject").all(axis=1)
    return [str(name) for name in comparisons[0]["arm"] if good[name]]


def kept(together: pd.DataFrame, techniques: Sequence[str]) -> tuple[str, list[str]]:
    """The stack to recommend: all techniques, or all but one if together they harm more.

    Args:
        together: The comparison of :func:`combinations` with the defaults.
        techniques: Those that are in the stack of :data:`ALL`.

    Returns:
        The arm and its techniques: of those that do not significantly more harm than the defaults
        all, or else the one that saves most at p95; :data:`DEFAULTS` if there is none.
    """
    arms = together.set_index("arm")
    harmless = arms[arms["harm_low"] <= 0]
    if ALL in harmless.index:
        return ALL, list(techniques)
    others = harmless[harmless.index.str.startswith(_WITHOUT)]
    if not len(others):
        return DEFAULTS, []
    name = str(others["saving_p95_s"].idxmax())
    return name, [t for t in techniques if t != name.removeprefix(_WITHOUT)]


def additivity(
    base: pd.DataFrame,
    alone: Mapping[str, pd.DataFrame],
    together: pd.DataFrame,
    base_parts: pd.DataFrame,
    alone_parts: Mapping[str, pd.DataFrame],
    *,
    stacked: Sequence[str],
    modes: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Mean savings of single techniques, their sum, and all together: measured and predicted.

    Args:
        base: Turns of the defaults.
        alone: Turns of each technique alone.
        together: Turns of the stack.
        base_parts: Parts of the defaults' turns, from an arm with preemption off.
        alone_parts: Parts of each technique's turns, likewise.
        stacked: The techniques that are in the stack.
        modes: What a technique starts before the commit, where that is not the default's ``llm``.

    Returns:
        One row per technique, then :data:`SUM` (of those in the stack) and :data:`ALL`, with the
        mean saving in seconds over the turns that every arm answered: ``measured_s`` with its
        interval, and ``predicted_s`` by the overlap model.
    """
    modes = modes or {}
    shared = base_parts.index
    for turns in (base, together, *alone.values()):
        shared = shared.intersection(_answered(turns).index)
    for part in alone_parts.values():
        shared = shared.intersection(part.index)
    before = overlap.predict(base_parts).loc[shared]
    expected = {
        name: before - overlap.predict(part, modes.get(name, "llm")).loc[shared]
        for name, part in alone_parts.items()
    }
    found = {name: _saved(base, turns, shared) for name, turns in alone.items()}
    rows = [_row(name, found[name], expected[name]) for name in alone]
    nothing = pd.Series(0.0, index=shared)
    total = sum((found[name] for name in stacked), nothing)
    rows.append(_row(SUM, total, sum((expected[name] for name in stacked), nothing)))
    both = overlap.combine(base_parts, {name: alone_parts[name] for name in stacked}).loc[shared]
    mode = next((modes[name] for name in stacked if name in modes), "llm")
    saved = before - overlap.predict(both, mode)
    rows.append(_row(ALL, _saved(base, together, shared), saved))
    return pd.DataFrame(rows)


def interactions(turns: pd.DataFrame, baseline: str, techniques: Sequence[str]) -> pd.DataFrame:
    """What two techniques save together beyond the sum of what each saves alone.

    Args:
        turns: Turns of the baseline, of each technique alone and of each pair, named ``a+b``.
        baseline: The arm that is compared with.
        techniques: Their names.

    Returns:
        One row per pair: ``first``, ``second``, and ``interaction_s`` with its interval, seconds;
        negative where savings overlap.
    """
    saved = savings(turns, baseline).set_index(["arm", *_KEY])["saved_s"]
    rows = []
    for a, b in itertools.combinations(techniques, 2):
        extra = (saved[f"{a}+{b}"] - saved[a] - saved[b]).dropna()
        found = statistics.mean(extra.rename("x").reset_index(), "x")
        rows.append(
            {
                "first": a,
                "second": b,
                "interaction_s": found.value,
                "interaction_low_s": found.low,
                "interaction_high_s": found.high,
            }
        )
    columns = ["first", "second", "interaction_s", "interaction_low_s", "interaction_high_s"]
    return pd.DataFrame(rows, columns=columns)


def by_length(arms: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Latency of short turns (acknowledgements) and of the others, for each arm.

    Returns:
        ``arm``, ``turns`` (``short`` or ``other``), p50 and p95 with intervals, seconds, and the
        share of harmed turns with its interval.
    """
    rows = []
    for name, turns in arms.items():
        short = turns["kind"] == "acknowledgement"
        for label, part in (("short", turns[short]), ("other", turns[~short])):
            row: dict[str, object] = {"arm": name, "turns": label, "n_turns": len(part)}
            row |= _harm(part)
            for p, q in (("p50", 0.5), ("p95", 0.95)):
                found = statistics.quantile(part, q)
                row |= {f"{p}_s": found.value, f"{p}_low_s": found.low, f"{p}_high_s": found.high}
            rows.append(row)
    return pd.DataFrame(rows)


def levels(results: Results, claim: Claim) -> pd.DataFrame:
    """How fast each arm answers each kind of caller, and whether that lies in a claimed band.

    Returns:
        ``arm``, ``persona``, ``quantile``, ``latency_s`` with its interval, ``n_turns`` that were
        answered, ``reached`` (whether the latency is no higher than the band's upper end), and the
        share of harmed turns with its interval.
    """
    rows = []
    for (arm, persona), turns in results.turns.groupby(["arm", "caller.persona"], sort=False):
        found = statistics.quantile(turns, claim.quantile)
        rows.append(
            {
                "arm": arm,
                "persona": persona,
                "quantile": claim.quantile,
                "latency_s": found.value,
                "latency_low_s": found.low,
                "latency_high_s": found.high,
                "n_turns": found.n,
                "reached": found.value <= claim.high_s,
                **_harm(_judged(turns)),
            }
        )
    return pd.DataFrame(rows)


def _answered(turns: pd.DataFrame) -> pd.Series:
    return turns[turns["outcome"] == "answered"].set_index(_KEY)["response_latency_s"]


def _saved(base: pd.DataFrame, turns: pd.DataFrame, shared: pd.Index) -> pd.Series:
    return _answered(base).loc[shared] - _answered(turns).loc[shared]


def _row(name: str, measured: pd.Series, predicted: pd.Series) -> dict[str, object]:
    found = statistics.mean(measured.rename("x").reset_index(), "x")
    return {
        "arm": name,
        "measured_s": found.value,
        "measured_low_s": found.low,
        "measured_high_s": found.high,
        "predicted_s": float(predicted.mean()),
        "n_turns": found.n,
    }
