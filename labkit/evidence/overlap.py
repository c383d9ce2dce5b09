"""When a reply starts, predicted from how long its parts take: the parts of a turn overlap.

With VAD-based turn taking the reply waits for the turn to be committed *and* for the first sentence
to be ready; preemptive generation lets both run at once. So the latency is a maximum, not a sum::

    preemption off       commit + hook + llm + sentence + tts + rest
    preemption on        max(commit + hook, transcript + llm + sentence) + tts + rest
    ... and of the TTS   max(commit + hook, transcript + llm + sentence + tts) + rest

The transcript is the final one, or the STT's earlier announcement that the turn is about to
end, where there is one. The parts come from an arm without preemption, in which they stand one
after the other and none is hidden. What a saving in one part is worth then depends on the others:
that is why savings do not add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from labkit.errors import unknown

PARTS = ("transcript_s", "commit_s", "hook_s", "llm_s", "sentence_s", "voice_s", "rest_s")
"""The parts of a turn, seconds; the first two count from the caller's last sound."""

MODES = ("off", "llm", "tts")
"""What is started before the commit: nothing, the LLM, or the LLM and the TTS."""

_KEY = ["call", "turn"]


def parts(turns: pd.DataFrame) -> pd.DataFrame:
    """How long each part took, from an arm with preemption off.

    Args:
        turns: Turns of one arm; those without a plain reply are left out.

    Returns:
        One row per turn, indexed by ``call`` and ``turn``, with the columns of :data:`PARTS`.
    """
    t = turns[turns["outcome"] == "answered"].set_index(_KEY)
    at = t[["at_hook_done_s", "at_llm_first_token_s", "at_tts_text_s"]]
    # a reply that no model was asked for, or whose audio was there, has parts that took no time
    at = at.where(t["served_model"] != "", at.ffill(axis=1))
    stopped = t["at_caller_stopped_s"]
    found = pd.DataFrame(
        {
            "transcript_s": t["at_eager_s"].fillna(t["at_transcript_s"]) - stopped,
            "commit_s": t["at_committed_s"] - stopped,
            "hook_s": at["at_hook_done_s"] - t["at_committed_s"],
            "llm_s": at["at_llm_first_token_s"] - at["at_hook_done_s"],
            "sentence_s": at["at_tts_text_s"] - at["at_llm_first_token_s"],
            "voice_s": t["at_agent_audio_left_s"] - at["at_tts_text_s"],
            "rest_s": t["at_reply_heard_s"] - t["at_agent_audio_left_s"],
        }
    )
    return found.dropna()


def predict(of: pd.DataFrame, mode: str = "llm") -> pd.Series:
    """The response latency that :func:`parts` add up to, seconds, in one of :data:`MODES`.

    Raises:
        ValueError: an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(unknown("mode", mode, MODES))
    decided = of["commit_s"] + of["hook_s"]
    thought = of["llm_s"] + of["sentence_s"]
    if mode == "off":
        return decided + thought + of["voice_s"] + of["rest_s"]
    early = of["transcript_s"] + thought
    if mode == "llm":
        return decided.where(decided > early, early) + of["voice_s"] + of["rest_s"]
    early = early + of["voice_s"]
    return decided.where(decided > early, early) + of["rest_s"]


def forecast(
    turns: pd.DataFrame,
    baseline: str,
    axes: Sequence[str],
    savings: Mapping[str, Callable[[pd.DataFrame], pd.Series]],
) -> pd.DataFrame:
    """What arms would save, from the turns of the ``baseline``, an arm without preemption.

    Args:
        savings: By arm, what it would save on each turn (seconds), given the :func:`parts`.

    Returns:
        One row per place, arm and turn: ``call``, ``turn``, ``saved_s``, ``arm`` and the swept
        settings.
    """
    own = turns[turns["arm"] == baseline]
    found = []
    for key, part in own.groupby(list(axes), sort=False) if axes else [((), own)]:
        of = parts(part)
        place: dict[str, Any] = dict(zip(axes, key, strict=True))
        for arm, saving in savings.items():
            saved_s = saving(of).rename("saved_s").reset_index()
            found.append(saved_s.assign(arm=arm, **place))
    return pd.concat(found, ignore_index=True)


def combine(base: pd.DataFrame, changed: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Parts with several changes at once: each change shortens a part by what it does alone.

    Returns:
        The baseline's parts plus every arm's own differences, for the turns that all of them have;
        no part is negative.
    """
    common = base.index
    for other in changed.values():
        common = common.intersection(other.index)
    total = base.loc[common].copy()
    for other in changed.values():
        total += other.loc[common] - base.loc[common]
    lengths = ["hook_s", "llm_s", "sentence_s", "voice_s"]
    total[lengths] = total[lengths].clip(lower=0.0)
    return total
