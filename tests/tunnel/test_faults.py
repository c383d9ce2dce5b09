"""What counts as a fault of the agent's code."""

from __future__ import annotations

from pathlib import Path

import pytest
from livekit.agents import ToolError

from labkit.tunnel.faults import Faults


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ToolError("AgentTask get_email_task is cancelled"), False),
        (ToolError("the order is cancelled"), True),
        (RuntimeError("AgentTask get_email_task is cancelled"), True),
    ],
)
def test_a_task_under_way_when_the_session_ends_is_no_fault(error: Exception, counts: bool) -> None:
    rows: list[str] = []
    Faults(Path("/nowhere"), lambda where, text: rows.append(text)).note(error)
    assert bool(rows) is counts
