"""What is committed of the studies says the same as the code and the ledger."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from labkit.evidence import claims
from labkit.paths import agents_dir

FIGURES = Path(__file__).parents[2] / "figures"


@pytest.mark.parametrize("name", [n for n in claims.load() if "/" in n])
def test_a_claim_on_another_arm_names_one_of_the_verdict(name: str) -> None:
    study, _, arm = name.partition("/")
    rows = json.loads((FIGURES / study / "verdict.json").read_text(encoding="utf-8"))["rows"]
    (row,) = [row for row in rows if row["arm"] == arm]
    assert row["claimed_high_s"] == claims.of(name).high_s


def test_the_stacked_agent_uses_what_the_study_chose() -> None:
    record = json.loads((FIGURES / "16_stacked" / "confirmed.json").read_text(encoding="utf-8"))
    (point,) = [point for point in record["points"] if point["arm"] == "chosen"]
    (declared,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((agents_dir() / "stacked.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARAMETERS"
    )
    assert declared["agent.techniques"] == point["agent.techniques"]
