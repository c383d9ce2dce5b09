"""Tuning by hand in a notebook: turn a knob, and see what it saves and what it costs.

Behind the widgets a :class:`labkit.explorer.refine.Refiner` measures in worker processes; the
kernel stays free. What the widgets do can be done in code too, so that a notebook runs headless.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from labkit.engine.sweep import sweep
from labkit.engine.tables import Results
from labkit.errors import UsageError, unknown
from labkit.evidence.verdict import Rules
from labkit.explorer.knobs import SDK, knob_values, knob_widget, of_agent, turn, value_text
from labkit.explorer.refine import Refiner, Snapshot
from labkit.explorer.view import View
from labkit.settings import Settings, Value
from labkit.settings.snippet import session_code
from labkit.tunnel.spec import N_TURNS, SEED


class Explorer:
    """Sliders and menus for an agent's settings, and figures that follow them.

    It is what a notebook shows as widgets when it is the last value of a cell.

    Args:
        agent: A built-in agent's name, ``path.py`` or ``path.py:object``.
        knobs: Names of :data:`labkit.explorer.knobs.KNOBS`, or any settings and their values.
        baseline: Settings of the agent that everything is compared with; by default the SDK's.
        settings: Fixed for both, such as another provider profile.
        turns: Caller turns after which a measurement ends by itself.
        turns_per_call: Caller turns in each call.
        seed: Everything random follows from it.
        workers: Worker processes; 0 for one per core.
        rules: Smallest saving worth having, largest harm accepted.

    Attributes:
        knobs: The widget of each knob, by setting.
        view: Everything that is shown.

    Raises:
        UsageError, SettingError, AgentFileError: nothing was started.
    """

    def __init__(
        self,
        agent: str = "vanilla",
        *,
        knobs: Sequence[str] | Mapping[str, Sequence[object]] | None = None,
        baseline: Mapping[str, object] | None = None,
        settings: Mapping[str, object] | None = None,
        turns: int = 400,
        turns_per_call: int = N_TURNS,
        seed: int = SEED,
        workers: int = 0,
        rules: Rules | None = None,
    ) -> None:
        for name, number in (("turns", turns), ("turns_per_call", turns_per_call)):
            if number < 1:
                raise UsageError(f"{name}={number}: must be at least 1")
        self._baseline, self._common = Settings(baseline).as_dict(), Settings(settings).as_dict()
        self._turns_per_call = turns_per_call
        self._changed = threading.Condition()
        self._latest: Snapshot | None = None
        self._choice, self._setting_knobs, self._closed = 0, False, False
        self.knobs = {n: knob_widget(n, values) for n, values in knob_values(knobs).items()}
        self._show_knobs(self._baseline)
        actions = {
            "Stop": self.stop,
            "Go on": self.go_on,
            "Pin as baseline": self.pin,
            "Back to baseline": self._back,
        }
        self.view = View(list(self.knobs.values()), actions, rules or Rules())
        self._refiner = Refiner(
            agent, tell=self._take, calls=-(-turns // turns_per_call), turns=turns_per_call,
            seed=seed, workers=workers,
        )  # fmt: skip
        try:
            self._measure()
        except Exception:
            self._refiner.close()
            raise
        for widget in self.knobs.values():
            widget.observe(self._on_knob, "value")
        self._painter = threading.Thread(target=self._paint, name="labkit explore", daemon=True)
        self._painter.start()

    # ------------------------------------------------------------------------ in code

    @property
    def chosen(self) -> dict[str, Value]:
        """The agent's settings as the knobs stand; what is left to the SDK is not among them."""
        own = {k: v for k, v in self._baseline.items() if k not in self.knobs}
        return Settings({**own, **self._knob_values(agents=True)}).as_dict()

    @property
    def code(self) -> str:
        """The chosen settings as ``AgentSession(...)`` code."""
        return session_code({**self._common, **self._knob_values(agents=False), **self.chosen})

    @property
    def progress(self) -> Snapshot | None:
        """The latest answer for what is chosen; None before the first call has ended."""
        latest = self._latest
        return latest if latest and latest.choice == self._choice else None

    def choose(self, changes: Mapping[str, object]) -> None:
        """Turns knobs.

        Args:
            changes: Settings by name; None for the default. A value a knob has no position for
                gets one.

        Raises:
            UsageError: a setting that has no knob.
            SettingError: a value it cannot take; no knob was turned.
        """
        values = {}
        for name, given in changes.items():
            if name not in self.knobs:
                raise UsageError(unknown("knob", name, self.knobs))
            values[name] = Settings({name: given}).value(name)
        self._show_knobs(values)
        self._measure()

    def wait(self, turns: int = 50, timeout_s: float = 600.0) -> Snapshot:
        """Waits until this many turns of what is chosen are measured, or no more are to come.

        Raises:
            TimeoutError: it took too long.
        """

        def enough() -> Snapshot | None:
            now = self.progress
            if now and (not now.running or now.n_calls * self._turns_per_call >= turns):
                return now
            return None

        with self._changed:
            now = self._changed.wait_for(enough, timeout_s)
        if now is None:
            raise TimeoutError(f"{turns} turns were not measured within {timeout_s:g} s")
        return now

    def results(self) -> Results:
        """The tables of what is known so far, of both arms, with their provenance."""
        experiment, now = self._refiner.experiment, self.wait(1)
        return sweep(replace(experiment, calls=now.n_calls))

    def pin(self) -> None:
        """Makes the chosen settings the baseline."""
        self._baseline = self.chosen
        self.view.forget()
        self._measure()

    def stop(self) -> None:
        """Begins no more calls."""
        self._refiner.stop()

    def go_on(self) -> None:
        """Goes on where :meth:`stop` stopped."""
        self._refiner.go_on()

    def close(self) -> None:
        """Ends the measuring and its worker processes; the figures stay."""
        self._closed = True
        self._refiner.close()
        with self._changed:
            self._changed.notify_all()
        self._painter.join()

    def _repr_mimebundle_(self, **more: Any) -> Any:
        return self.view.box._repr_mimebundle_(**more)

    # ------------------------------------------------------------------------ knobs

    def _knob_values(self, agents: bool) -> dict[str, Value]:
        return {
            name: widget.value
            for name, widget in self.knobs.items()
            if of_agent(name) == agents and widget.value != SDK
        }

    def _show_knobs(self, values: Mapping[str, Value]) -> None:
        """Puts knobs where they belong without measuring each step."""
        self._setting_knobs = True
        try:
            for name, value in values.items():
                if name in self.knobs:
                    turn(name, self.knobs[name], value)
        finally:
            self._setting_knobs = False

    def _on_knob(self, _: Any) -> None:
        if not self._setting_knobs:
            self._measure()

    def _measure(self) -> None:
        common = {**self._common, **self._knob_values(agents=False)}
        self._choice = self._refiner.choose(self._baseline, self.chosen, common)
        self.view.begin(self.code)

    def _back(self) -> None:
        self._show_knobs({name: self._baseline.get(name) for name in self.knobs if of_agent(name)})
        self._measure()

    def _take(self, progress: Snapshot) -> None:
        with self._changed:
            self._latest = progress
            self._changed.notify_all()

    def _paint(self) -> None:
        """Draws the latest answer, one at a time; those that came meanwhile are passed over."""
        painted: Snapshot | None = None
        while not self._closed:
            with self._changed:
                while self._latest is painted and not self._closed:
                    self._changed.wait()
                painted = self._latest
            if painted and painted.choice == self._choice:
                try:
                    self.view.show(painted, self._turns_per_call, self._name())
                    if painted.choice != self._choice:  # a knob was turned meanwhile
                        self.view.begin(self.code)
                except Exception as e:  # a thread's error would be seen by nobody
                    self.view.status.value = html.escape(f"{type(e).__name__}: {e}")

    def _name(self) -> str:
        """What differs from the baseline, in a few words; empty if nothing does."""
        own, base = self.chosen, self._baseline
        names = [n for n in dict.fromkeys([*own, *base]) if own.get(n) != base.get(n)]
        return ", ".join(f"{n.rpartition('.')[2]} {value_text(n, own.get(n))}" for n in names)


explore = Explorer
"""As a notebook says it: ``lab.explore("vanilla")``."""
