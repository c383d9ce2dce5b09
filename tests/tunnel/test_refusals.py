"""What a provider refused is told once, with the agent's line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.engine.run import run
from labkit.tunnel.refusals import refusals
from labkit.world.events import EventLog, Refused, Role


def told(agent: Path, *refused: Refused) -> list[tuple[str, str]]:
    log = EventLog()
    for event in refused:
        log.add(event, 1.0, Role.LLM, "openai")
    return list(refusals(log.events, agent))


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / "agent.py"
    path.write_text("import x\nmodel = 'gpt-4.1-minni'\nx.realtime()\n")
    return path


def test_an_unknown_model_names_its_line_and_those_there_are(agent: Path) -> None:
    event = Refused(status=404, message="The model `gpt-4.1-minni` does not exist.")
    ((text, at),) = told(agent, event, event)
    assert at == f"{agent}:2"
    assert text.startswith(
        "openai answered 404: The model `gpt-4.1-minni` does not exist; emulated"
    )
    assert text.endswith("(did you mean gpt-4.1-mini?)")


def test_a_realtime_model_is_said_not_to_be_emulated(agent: Path) -> None:
    event = Refused(status=404, message="Invalid URL (GET /v1/realtime)")
    ((text, at),) = told(agent, event)
    assert at == f"{agent}:3" and "a realtime model is not emulated" in text


@pytest.mark.parametrize(("status", "tells"), [(399, 0), (400, 1), (429, 0), (499, 1), (500, 0)])
def test_what_may_pass_of_itself_is_not_told(agent: Path, status: int, tells: int) -> None:
    assert len(told(agent, Refused(status=status, message="No."))) == tells


@pytest.mark.slow
def test_a_run_tells_of_a_refusal_that_no_line_names() -> None:
    results = run("vanilla", settings={"llm.model": "gpt-none"}, calls=1, turns=1)
    assert set(results.turns["outcome"]) == {"failed"}
    assert results.calls["error"].tolist() == [""], "the call itself came to its end"
    (error,) = results.troubles["error"]
    assert error.startswith("openai answered 404: The model `gpt-none` does not exist")
