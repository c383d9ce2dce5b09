"""Hear and see one moment of a call: both tracks in stereo, with the milestones over them.

Tables hold no audio. A row names its call, and the same call always sounds the same, so it is run
again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.engine import store
from labkit.engine.calls import Finished, run_jobs
from labkit.engine.experiment import call_spec
from labkit.engine.workload import Job
from labkit.errors import UsageError
from labkit.report.palette import ACCENT, INK, MAIN, SOFT
from labkit.settings import Settings
from labkit.tunnel.spec import CallSpec
from labkit.world.scene import SAMPLE_RATE_HZ

BEFORE_S = 1.0
AFTER_S = 4.0
"""Kept before the turn's first sound, and after the reply's first or the turn's last, seconds."""

_MILESTONES = {
    "at_caller_stopped_s": ("caller's last sound", INK),
    "at_released_s": ("button let go", INK),
    "at_committed_s": ("committed", ACCENT),
    "at_llm_request_s": ("LLM asked", SOFT),
    "at_tts_first_audio_s": ("first audio", SOFT),
    "at_reply_heard_s": ("reply heard", MAIN),
}
_NEEDED = (
    "agent", "settings", "turns_asked", "clock", "seed", "call", "turn", "at_caller_started_s",
)  # fmt: skip


class ListenError(UsageError):
    """A row that does not identify a call, or comes from another version of labkit."""


@dataclass(frozen=True)
class Moment:
    """A stretch of a call, shown in a notebook as a player and a picture."""

    stereo: np.ndarray  # caller left, agent as heard right; int16 of shape (samples, 2)
    rate_hz: int
    from_s: float  # when it begins, from the start of the call
    row: Mapping[str, Any]  # of the turn

    def figure(self) -> Figure:
        """Both tracks over the seconds of the call, with the turn's milestones."""
        figure, axes = plt.subplots(
            2, 1, figsize=(10, 3.6), sharex=True, sharey=True, layout="constrained"
        )
        for ax, track, name in zip(axes, self.stereo.T, ("caller", "agent, as heard"), strict=True):
            _draw_track(ax, track, self.rate_hz, self.from_s)
            ax.set_ylabel(name)
        _draw_milestones(axes, self.row)
        axes[1].set_xlabel("seconds from the start of the call")
        latency = float(self.row["response_latency_s"])
        waited = "" if math.isnan(latency) else f", {1000 * latency:,.0f} ms"
        axes[0].set_title(
            f"call {self.row['call']}, turn {self.row['turn']}: {self.row['outcome']}{waited}",
            pad=34,
        )
        return figure

    def _ipython_display_(self) -> None:
        from IPython import display

        figure = self.figure()
        sound = self.stereo.T / 32768
        player = display.Audio(sound, rate=self.rate_hz, normalize=False)  # type: ignore[no-untyped-call]
        display.display(figure, player)  # type: ignore[no-untyped-call]
        plt.close(figure)


def listen(row: pd.Series | Mapping[str, Any], *, after_s: float = AFTER_S) -> Moment:
    """The moment of a call that a row of the turns table describes.

    Args:
        row: Any row, such as ``results.turns.iloc[0]``.
        after_s: Seconds kept after the reply's first sound, or after the turn's end if that is
            later.

    Returns:
        What a notebook shows as a player (caller left, agent right) and a picture.

    Raises:
        ListenError: the row does not identify a call, or the call now runs differently: the table
            is of another version of labkit or of the agent.
    """
    given = dict(row)
    missing = [name for name in _NEEDED if name not in given]
    if missing:
        raise ListenError(
            f"the row has no {', '.join(missing)}; give a whole row of a turns table, such as "
            "results.turns.iloc[0]"
        )
    spec = _spec(given)
    (call,) = run_jobs([Job(0, spec, store.key(spec))])
    turn = int(given["turn"])
    started_s = float(given["at_caller_started_s"])
    _same(call, turn, started_s)
    ends_s = float(given["at_caller_stopped_s"]), float(given.get("at_reply_heard_s", math.nan))
    last_s = np.nanmax(ends_s) + after_s
    assert call.tracks is not None
    stereo = np.stack([call.tracks.mouth, call.tracks.ear], axis=1)
    first = max(round((started_s - BEFORE_S) * SAMPLE_RATE_HZ), 0)
    stereo = stereo[first : round(last_s * SAMPLE_RATE_HZ)]
    return Moment(stereo, SAMPLE_RATE_HZ, first / SAMPLE_RATE_HZ, given)


def _spec(row: Mapping[str, Any]) -> CallSpec:
    """The call of a row."""
    if row["clock"] != "virtual":
        raise ListenError(
            f"the row was made on the {row['clock']} clock, on which calls do not repeat; "
            "keep the sound of such calls with `labkit run --wav FOLDER`"
        )
    settings = Settings(json.loads(str(row["settings"])))
    turns = int(row["turns_asked"])
    spec = call_spec(str(row["agent"]), settings, seed=int(row["seed"]), turns=turns)
    return replace(spec, call=int(row["call"]), tracks=True)


def _same(call: Finished, turn: int, started_s: float) -> None:
    name, turns = call.job.spec.call, call.rows["turns"]
    if turn >= len(turns):
        raise ListenError(f"call {name} fails when it is run again: {call.rows['call']['error']}")
    found_s = float(turns[turn]["at_caller_started_s"])
    if abs(found_s - started_s) > 1e-6:
        raise ListenError(
            f"run again, turn {turn} of call {name} begins at {found_s:.3f} s and not at "
            f"{started_s:.3f} s: the table was made by another version of labkit or of the agent"
        )


def _draw_track(ax: Axes, track: np.ndarray, rate_hz: int, from_s: float) -> None:
    """The track's envelope: a picture has some 1,500 columns, however many samples there are."""
    step = max(len(track) // 1500, 1)
    n = len(track) // step
    blocks = track[: n * step].reshape(n, step) / 32768
    at = from_s + (np.arange(n) + 0.5) * step / rate_hz
    ax.fill_between(at, blocks.min(axis=1), blocks.max(axis=1), color=MAIN, linewidth=0.4)
    ax.set_yticks([])
    ax.set_xlim(from_s, from_s + len(track) / rate_hz)
    ax.grid(False)


def _draw_milestones(axes: np.ndarray, row: Mapping[str, Any]) -> None:
    left, right = axes[0].get_xlim()
    shown = [
        (float(row.get(column, math.nan)), name, colour)
        for column, (name, colour) in _MILESTONES.items()
    ]
    shown = sorted(m for m in shown if left <= m[0] <= right)
    free_s = [left] * 3  # from where on each of the lines for names is free
    for at, name, colour in shown:
        for ax in axes:
            ax.axvline(at, color=colour, linewidth=1.0)
        line = int(np.argmin(np.maximum(free_s, at)))
        free_s[line] = at + 0.009 * (right - left) * len(name)
        axes[0].annotate(name, (at, 1), xycoords=("data", "axes fraction"),
                         xytext=(2, 2 + 10 * line), textcoords="offset points", fontsize=8,
                         color=colour)  # fmt: skip
