"""Tables with known answers, and a zoo of tiny notebooks."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from labkit.measure.stages import STAGES

STAGE_S = {
    "uplink_s": 0.1,
    "vad_silence_s": 0.3,
    "endpointing_s": 0.05,
    "llm_ttft_s": 0.4,
    "tts_ttfb_s": 0.15,
    "leading_silence_s": 0.05,
    "downlink_s": 0.1,
}
"""Stages of every turn; together 1.15 s. Turn t of a call waits another t × 0.1 s for the LLM."""
SDK_START_S, SDK_END_S = 0.15, 0.15
"""What the SDK's figure leaves out at either end."""


def make_turns(
    n_calls: int = 10, n_turns: int = 4, faster_s: float = 0.0, premature_calls: int = 0
) -> pd.DataFrame:
    """Turns that were all answered; ``faster_s`` is taken from the LLM's first token.

    The first turn of the first ``premature_calls`` calls is cut in on.
    """
    rows = []
    for call in range(n_calls):
        for turn in range(n_turns):
            stages = dict.fromkeys(STAGES, 0.0) | STAGE_S
            stages["llm_ttft_s"] += 0.1 * turn - faster_s
            latency = sum(stages.values())
            stopped = 10.0 * turn
            rows.append({
                "call": call,
                "turn": turn,
                "said": f"sentence {turn}",
                "outcome": "premature" if call < premature_calls and turn == 0 else "answered",
                **stages,
                **{f"length_{name}": length for name, length in stages.items()},
                **{f"slack_{name}": 0.0 if stages[name] else float("nan") for name in STAGES},
                **{f"drag_{name}": length for name, length in stages.items()},
                "waited_for": "both",
                "branch_slack_s": float("nan"),
                "response_latency_s": latency,
                "residual_s": 0.0,
                "n_user_messages": 1,
                "at_caller_stopped_s": stopped,
                "at_eager_s": float("nan"),
                "at_transcript_s": stopped + 0.3,
                "at_heard_s": stopped + 0.1,
                "at_committed_s": stopped + 0.45,
                "sdk_end_of_turn_delay_s": 0.45 - SDK_START_S,
                "at_agent_audio_left_s": stopped + latency - 0.15,
                "at_reply_heard_s": stopped + latency,
                "sdk_e2e_latency_s": latency - SDK_START_S - SDK_END_S,
                "llm_calls": 1.0,
                "llm_wasted_tokens": 4.0,
                "tts_characters": 50.0,
                "usd": 0.002,
            })  # fmt: skip
    return pd.DataFrame(rows)


PARAMETERS = """seed: int = 7  # everything random follows from it
n_calls: int = 4  # simulated calls
delay_s: float = 0.5  # a delay, seconds
clock: str = "virtual"  # which clock
steps: list[float] = [0.1, 0.2]  # delays, seconds
keep: bool = True  # whether to keep it
workers: int = 1  # worker processes
figures_to: str = "reports/figures"  # folder of the saved figures"""


def write_notebook(path: Path, *code: str, key_figure: str = "", **presets: dict) -> Path:
    """A notebook with a question, a parameters cell and the given code cells."""
    cells = [
        _cell("markdown", f"# What does {path.stem} ask?\n\nAnd why."),
        _cell("code", PARAMETERS, "parameters"),
        *(_cell("code", text) for text in code),
    ]
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "labkit": {"key_figure": key_figure, "presets": {"default": {}, **presets}},
    }
    content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _cell(kind: str, source: str, *tags: str) -> dict:
    cell = {"cell_type": kind, "metadata": {"tags": list(tags)} if tags else {}, "source": source}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})
