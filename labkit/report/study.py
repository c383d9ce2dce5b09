"""What all studies do alike: run arms and check them, keep charts, save a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes

from labkit.engine.experiment import Arm, Experiment
from labkit.engine.sweep import sweep
from labkit.engine.tables import Results
from labkit.errors import UsageError
from labkit.evidence import claims
from labkit.evidence.checks import check
from labkit.report import verdicts
from labkit.report.palette import Chart, use_style
from labkit.report.saving import save

if TYPE_CHECKING:
    from IPython.display import Markdown


class Study:
    """One run of a study's notebook.

    Args:
        name: Of the notebook, such as ``04_model_routing``.
        calls: Calls of each arm, unless a run says otherwise.
        turns: Caller turns in each call, likewise.
        seed: Everything random follows from it.
        clock: ``virtual``, or ``wall`` for real time.
        workers: Worker processes; 0 for one per core. Results do not depend on it.
        min_turns: Answered turns below which nothing is concluded, likewise.
        max_missed: Turns that may go without a reply, as a proportion of all, likewise.
        figures_to: The folder of all charts; ``figures`` of the checkout by default.
    """

    def __init__(
        self,
        name: str,
        *,
        calls: int = 20,
        turns: int = 5,
        seed: int = 7,
        clock: str = "virtual",
        workers: int = 0,
        min_turns: int = 20,
        max_missed: float = 0.0,
        figures_to: str | Path | None = None,
    ) -> None:
        self.name, self.figures_to = name, figures_to
        self._run: dict[str, Any] = {"calls": calls, "turns": turns, "seed": seed, "clock": clock}
        self._statement = ""
        self._workers, self._min_turns, self._max_missed = workers, min_turns, max_missed
        use_style()

    @property
    def claim(self) -> claims.Claim:
        """What is claimed of the technique, from ``data/claims.toml``.

        Raises:
            ClaimError: nothing is.
        """
        return claims.of(self.name)

    def quote(self) -> Markdown:
        """The claim and its source, as a notebook shows it."""
        return _markdown(f"> {self.claim.claim} *{self.claim.source}*")

    def run(
        self,
        arms: Mapping[str, str | Arm],
        *,
        grid: Mapping[str, Sequence[object]] | None = None,
        points: Sequence[Mapping[str, object]] = (),
        settings: Mapping[str, object] | None = None,
        calls: int | None = None,
        turns: int | None = None,
        min_turns: int | None = None,
        max_missed: float | None = None,
        max_missed_turns: int | None = None,
        clock: str | None = None,
    ) -> Results:
        """Runs arms, which all hear the same callers, and checks what came out.

        What is not named here is the study's own by default.

        Args:
            arms: By name: an arm, or text such as ``vanilla@preemptive.enabled=false``.
            grid: Settings and the values each takes; every combination is run.
            points: Further places of the grid, one by one.
            settings: Set for all arms.
            calls: Calls of each arm at each place.
            max_missed_turns: ``max_missed`` as a number, instead of a proportion.

        Raises:
            UsageError: nothing was run.
            CheckFailed: a call failed, stages do not add up, or too few turns were answered.
        """
        own = {"calls": calls, "turns": turns, "clock": clock}
        terms = self._run | {k: v for k, v in own.items() if v is not None}
        experiment = Experiment(arms, grid or {}, points, settings=settings or {}, **terms)
        results = sweep(experiment, workers=self._workers)
        min_turns = self._min_turns if min_turns is None else min_turns
        max_missed = self._max_missed if max_missed is None else max_missed
        if max_missed_turns is None:
            max_missed_turns = round(max_missed * len(results.turns))
        check(results, min_turns=min_turns, max_missed=max_missed_turns)
        return results

    def keep(self, name: str, chart: Chart, results: Results, title: str | None = None) -> None:
        """Saves a chart, its numbers and where they come from; the notebook shows it by itself.

        The title is written above axes.
        """
        if title is not None and isinstance(chart.drawing, Axes):
            chart.drawing.set_title(title)
        save(chart.drawing, f"{self.name}/{name}", chart.data, results.provenance, self.figures_to)

    def conclude(
        self, rows: pd.DataFrame, *, headline: str | None = None, harms: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Saves the verdicts and returns them as a table to read.

        Args:
            rows: What ``lab.verdicts.rows`` or ``lab.verdicts.latency_claim`` returned.
            headline: The arm that speaks for the study; the first by default.
            harms: Other harms of the arms, as ``lab.figures.harm_changes`` gives them.
        """
        verdicts.save_verdict(rows, self.name, self.figures_to, headline=headline, harms=harms)
        self._statement = verdicts.statement(rows, headline)
        return verdicts.table(rows)

    def statement(self) -> Markdown:
        """The sentence that speaks for the study, as a notebook shows it.

        Raises:
            UsageError: nothing has been concluded yet.
        """
        if not self._statement:
            raise UsageError(f"{self.name}: conclude(rows) comes first, then statement()")
        return _markdown(f"**{self._statement}**")


def _markdown(text: str) -> Markdown:
    from IPython.display import Markdown

    return Markdown(text)  # type: ignore[no-untyped-call]
