"""What all studies share: run and check arms, save charts, save a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes

from labkit.engine.experiment import Arm, Experiment
from labkit.engine.sweep import sweep
from labkit.engine.tables import Results
from labkit.errors import UsageError
from labkit.evidence import claims
from labkit.evidence.checks import check
from labkit.evidence.sequential import LIMIT, Judge, run_until
from labkit.evidence.verdict import Rules
from labkit.report import verdicts
from labkit.report.palette import Chart, use_style
from labkit.report.saving import save

if TYPE_CHECKING:
    from IPython.display import Markdown


@dataclass(kw_only=True)
class Study:
    """The terms of a study's runs, which a run may override."""

    name: str = field(kw_only=False)  # of the notebook, such as 04_model_routing
    calls: int = 20  # of each arm
    turns: int = 5  # of the caller in each call
    seed: int = 7  # everything random follows from it
    clock: str = "virtual"  # or "wall" for real time
    until: str = "decided"  # when :meth:`decide` ends; or "calls" for all calls and one look
    workers: int = 0  # processes; 0 for one per core; results do not depend on it
    min_turns: int = 20  # answered turns below which nothing is concluded
    max_missed: float = 0.02  # turns that may go without a reply, as a proportion of all:
    # a caller who is kept waiting goes on after a while, and the turn counts as harm
    figures_to: str | Path | None = None  # folder of all charts; "figures" of the checkout

    def __post_init__(self) -> None:
        self._statement = ""
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
        checked: bool = True,
    ) -> Results:
        """Runs arms, which all hear the same callers, and checks the results.

        Parameters not listed here default to the study's own.

        Args:
            arms: By name: an arm, or text such as ``vanilla@preemptive.enabled=false``.
            grid: Settings and the values each takes; every combination is run.
            points: Further places of the grid, one by one.
            settings: Set for all arms.
            calls: Calls of each arm at each place.
            max_missed_turns: ``max_missed`` as a number, instead of a proportion.
            checked: False for arms that are expected not to run as published.

        Raises:
            UsageError: nothing was run.
            CheckFailed: a call failed, stages do not add up, or too few turns were answered.
        """
        experiment = self._experiment(arms, grid, points, settings, calls, turns, clock)
        results = sweep(experiment, workers=self.workers)
        if checked:
            self._check(results, min_turns, max_missed, max_missed_turns)
        return results

    def decide(
        self,
        arms: Mapping[str, str | Arm],
        judge: Judge,
        rules: Rules,
        *,
        headline: str | Sequence[str] = (),
        in_full: Sequence[str] = (),
        beside: int = LIMIT,
        grid: Mapping[str, Sequence[object]] | None = None,
        settings: Mapping[str, object] | None = None,
        calls: int | None = None,
        first: int = 0,
        max_missed: float | None = None,
        max_missed_turns: int | None = None,
        checked: bool = True,
    ) -> tuple[Results, pd.DataFrame]:
        """Runs arms until their gain and harm are decided, and checks the results.

        Args:
            judge: Compares the arms by the rules it is given, as ``lab.compare`` does.
            rules: What is worth having, and what is accepted.
            headline: Rows of the comparison that are to be decided; all by default.
            in_full: Arms on which the headline rests, which are run until it is decided; all by
                default.
            beside: The most calls of the other arms, which are shown beside those.
            calls: The most calls of each arm at each place.
            first: Index of the first call.

        The others are those of :meth:`run`.

        Returns:
            The results, and the comparison that the judge made of them.

        Raises:
            UsageError, CheckFailed: as of :meth:`run`.
        """
        experiment = self._experiment(arms, grid, (), settings, calls, None, None)
        results, table = run_until(
            replace(experiment, first=first), judge, rules=rules, until=self.until,
            headline=[headline] if isinstance(headline, str) else headline,
            in_full=in_full, beside=beside,
            run=lambda part: sweep(part, workers=self.workers),
        )  # fmt: skip
        if checked:
            self._check(results, None, max_missed, max_missed_turns)
        return results, table

    def _experiment(
        self,
        arms: Mapping[str, str | Arm],
        grid: Mapping[str, Sequence[object]] | None,
        points: Sequence[Mapping[str, object]],
        settings: Mapping[str, object] | None,
        calls: int | None,
        turns: int | None,
        clock: str | None,
    ) -> Experiment:
        return Experiment(
            arms, grid or {}, points, settings=settings or {}, seed=self.seed,
            calls=self.calls if calls is None else calls,
            turns=self.turns if turns is None else turns,
            clock=self.clock if clock is None else clock,
        )  # fmt: skip

    def _check(
        self,
        results: Results,
        min_turns: int | None,
        max_missed: float | None,
        max_missed_turns: int | None,
    ) -> None:
        min_turns = self.min_turns if min_turns is None else min_turns
        max_missed = self.max_missed if max_missed is None else max_missed
        if max_missed_turns is None:
            max_missed_turns = math.ceil(max_missed * len(results.turns))
        check(results, min_turns=min_turns, max_missed=max_missed_turns)

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
