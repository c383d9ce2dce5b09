"""Study 07's agents: a judge or a guard neither moves the reply's draws nor shares them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.tunnel.worker import ENVIRONMENT

SCRIPT = Path(__file__).with_name("request_waits.py")
pytestmark = pytest.mark.slow


@functools.cache
def waits(agent: str, *settings: str) -> dict[str, dict[int, list[float]]]:
    """Waits for the first token by role and caller turn, seconds, rounded to the microsecond."""
    done = subprocess.run(
        [sys.executable, SCRIPT, agent, *settings],
        env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    out: dict[str, dict[int, list[float]]] = {}
    for role, turn, wait_s in json.loads(done.stdout.splitlines()[-1]):
        out.setdefault(role, {}).setdefault(turn, []).append(round(wait_s, 6))
    return out


ARMS = [
    ("judge", "reply_evaluation", "agent.judge=inline"),
    ("judge", "reply_evaluation", "agent.judge=background"),
    ("guard", "output_guardrail", "agent.guardrail=whole"),
    ("guard", "output_guardrail", "agent.guardrail=sentence"),
]


@pytest.mark.parametrize(("role", "agent", "how"), ARMS)
def test_the_reply_waits_as_long_as_without_and_the_side_request_otherwise(
    role: str, agent: str, how: str
) -> None:
    plain, more = waits("vanilla"), waits(agent, how)
    assert set(plain["reply"]) == {0, 1, 2, 3}
    assert more["reply"] == plain["reply"]
    assert role not in plain
    assert len(more[role]) >= 3
    for turn, sides in more[role].items():
        assert not set(sides) & set(plain["reply"][turn])
    assert len({wait for sides in more[role].values() for wait in sides}) > 2


def test_the_reply_keeps_its_draw_without_preemption_and_with_another_model() -> None:
    with_it, without = waits("vanilla"), waits("vanilla", "preemptive.enabled=false")
    assert {t: w[-1] for t, w in without["reply"].items()} == {
        t: w[-1] for t, w in with_it["reply"].items()
    }
