"""The callers of persona ``field``: who they are is drawn for each call from ``field.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

from labkit.callers.noise import RECORDINGS
from labkit.randomness import uniform
from labkit.settings import Value

MANNERS: Mapping[str, Mapping[str, Value]] = {
    "barging_in": {"caller.barge_in_after_s": 1.0},
    "back_channelling": {"caller.backchannel_prob": 0.8},
}
"""What the manners of ``field.toml`` set, which are personas of their own too."""


@functools.cache
def distributions() -> Mapping[str, Mapping[str, Any]]:
    """The tables of ``field.toml``, by name."""
    return tomllib.loads(Path(__file__).with_name("field.toml").read_text(encoding="utf-8"))


def drawn(seed: int, call: int) -> dict[str, Value]:
    """The settings of one caller, by dotted name. They depend on the seed and the call alone."""

    def draw(what: str) -> float:
        return uniform(seed, f"caller.field.{what}", call)

    tables = distributions()
    level, pace = tables["level"], tables["pace"]
    low, high = tables["turns"]["hesitant"]
    own: dict[str, Value] = {
        "caller.pauses": "drawn",
        "caller.hesitant_prob": low + (high - low) * draw("hesitant"),
        "caller.terse_prob": tables["turns"]["terse"],
        "caller.level_dbfs": _normal(
            draw("level"), level["mean_dbfs"], level["sd_db"], level["low_dbfs"], level["high_dbfs"]
        ),
        "caller.pace": _normal(draw("pace"), 1.0, pace["sd"], pace["low"], pace["high"]),
        "caller.microphone": _one(draw("microphone"), tables["microphone"]),
    }
    own |= MANNERS.get(_one(draw("manner"), tables["manner"]), {})
    return own | _background(draw, tables["background"])


def pause_s(seed: int, *occasion: int) -> float:
    """The length of one mid-turn silence, seconds: a power law between two lengths."""
    table = distributions()["pauses"]
    power = -table["exponent"]
    short, long = (table[name] ** power for name in ("shortest_s", "longest_s"))
    beyond = uniform(seed, "caller.pause", *occasion)
    return float((long + beyond * (short - long)) ** (1 / power))


def _background(draw: Any, table: Mapping[str, Any]) -> dict[str, Value]:
    kinds = ("suppressed", "quiet", "noisy")
    kind = _one(draw("background"), {k: table[k] for k in kinds})
    if kind == "quiet":
        low, high = table["quiet_dbfs"]
        return {"caller.noise_floor_dbfs": low + (high - low) * draw("background.level")}
    if kind == "noisy":
        low, high = table["noisy_snr_db"]
        places = sorted(RECORDINGS)
        return {
            "caller.noise": places[int(draw("background.place") * len(places))],
            "caller.noise_snr_db": low + (high - low) * draw("background.level"),
        }
    return {}


def _one(draw: float, proportions: Mapping[str, float]) -> str:
    """One of the names by its proportion; empty for what they leave of 1."""
    for name, proportion in proportions.items():
        draw -= proportion
        if draw < 0:
            return name
    return ""


def _normal(draw: float, mean: float, sd: float, low: float, high: float) -> float:
    return min(max(NormalDist(mean, sd).inv_cdf(draw), low), high)
