"""What an explorer shows: buttons, knobs, pictures and tables of a measurement under way."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
import pandas as pd

from labkit.evidence.compare import harmed
from labkit.evidence.verdict import Rules
from labkit.explorer.refine import Snapshot
from labkit.explorer.tuning import frontier_png, headline, stage_table, waterfall_png
from labkit.report.palette import use_style

_KEPT = 5


class View:
    """The widgets around the knobs.

    Args:
        knobs: Their widgets.
        actions: What each button does, by its text.
        rules: Smallest saving worth having, largest harm accepted.

    Attributes:
        box: Everything, as one widget.
        status: How far it is, and the result in a line.
        code: The chosen settings as code.
    """

    def __init__(
        self, knobs: Sequence[Any], actions: Mapping[str, Callable[[], object]], rules: Rules
    ) -> None:
        use_style()
        self._rules = rules
        self._tried: dict[str, pd.DataFrame] = {}
        self.status = ipywidgets.HTML().add_class("labkit-status")
        self._bar = ipywidgets.IntProgress(min=0, max=1, layout={"width": "100%"})
        self.frontier = _picture("labkit-frontier")
        self.waterfall = _picture("labkit-waterfall")
        self.stages = ipywidgets.HTML().add_class("labkit-stages")
        self.code = ipywidgets.Textarea(layout={"width": "100%", "height": "16em"})
        self.code.add_class("labkit-code")
        self._clipboard = ipywidgets.Output()
        buttons = [_button(text, action) for text, action in actions.items()]
        buttons.append(_button("Copy as AgentSession(...) code", self._copy))
        pictures = ipywidgets.HBox([self.frontier, self.waterfall], layout={"flex_flow": "wrap"})
        seen = ipywidgets.VBox([pictures, self.stages], layout={"min_width": "0"})
        self.box = ipywidgets.VBox([
            ipywidgets.HBox(buttons, layout={"flex_flow": "wrap"}),
            self.status,
            self._bar,
            ipywidgets.HBox([ipywidgets.VBox(list(knobs), layout={"flex": "0 0 auto"}), seen]),
            self.code,
            self._clipboard,
        ])  # fmt: skip

    def begin(self, code: str) -> None:
        """Something else is measured from now on."""
        self.status.value = "measuring …"
        self.code.value = code

    def forget(self) -> None:
        """The settings tried before are no longer shown."""
        self._tried.clear()

    def show(self, now: Snapshot, turns_per_call: int, name: str) -> None:
        """Draws how far a measurement has come.

        Args:
            now: What is known.
            turns_per_call: Caller turns in each call.
            name: The chosen settings in a few words; empty if they are the baseline's.
        """
        done, total = now.n_calls * turns_per_call, now.total * turns_per_call
        self._bar.max, self._bar.value = total, done
        state = "measuring" if now.running else "at rest"
        lines = [f"{state}: {done} turns of {total}, {now.elapsed_s:.0f} s"]
        if len(now.baseline) and len(now.chosen):
            lines.append(headline(now.baseline, now.chosen, self._rules))
            self._draw(now, name)
        else:
            self.frontier.value = self.waterfall.value = b""
            self.stages.value = ""
        lines += [html.escape(f"failed: {error}") for error in now.errors[:3]]
        self.status.value = "<br>".join(lines)

    def _draw(self, now: Snapshot, name: str) -> None:
        tried = {k: v for k, v in list(self._tried.items())[-_KEPT:] if k != name}
        arms = {"baseline": now.baseline, **tried, **({name: now.chosen} if name else {})}
        limit = self._rules.max_harm + float(harmed(now.baseline).mean())
        self.frontier.value = frontier_png(arms, baseline="baseline", limit=limit)
        self.waterfall.value = waterfall_png(now.chosen)
        self.stages.value = stage_table(now.baseline, now.chosen)
        if name:
            self._tried[name] = now.chosen

    def _copy(self) -> None:
        from IPython.display import Javascript, display

        with self._clipboard:
            self._clipboard.clear_output()
            text = f"navigator.clipboard.writeText({json.dumps(self.code.value)})"
            display(Javascript(text))  # type: ignore[no-untyped-call]


def _button(text: str, action: Callable[[], object]) -> Any:
    button = ipywidgets.Button(description=text, layout={"width": "auto"})
    button.on_click(lambda _: action())
    return button


def _picture(name: str) -> Any:
    layout = {"max_width": "100%", "object_fit": "contain"}
    return ipywidgets.Image(format="png", layout=layout).add_class(name)
