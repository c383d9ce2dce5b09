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


@pytest.mark.parametrize(("path", "tells"), [("/v1/", 0), ("/", 0), ("/v1/audio", 1)])
def test_a_connection_that_is_warmed_is_no_refusal(agent: Path, path: str, tells: int) -> None:
    event = Refused(status=404, message=f"Invalid URL (GET {path})")
    assert len(told(agent, event)) == tells


def test_a_model_is_found_that_stands_in_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "agent.py"
    path.write_text("import x\n\ntts = x.TTS(model='eleven_v9')\n")
    text = "A model with model ID eleven_v9 does not exist; must be one of a, b"
    assert told(path, Refused(status=400, message=text)) == [
        (f"openai answered 400: {text}", f"{path}:3")
    ]


def test_a_role_s_own_models_are_named(tmp_path: Path) -> None:
    log = EventLog()
    path = tmp_path / "agent.py"
    path.write_text("model = 'tts-9'\n")
    event = Refused(status=404, message="The model `tts-9` does not exist.")
    log.add(event, 1.0, Role.TTS, "openai")
    ((text, _),) = refusals(log.events, path)
    assert "emulated are gpt-4o-mini-tts, tts-1, tts-1-hd" in text


def test_a_run_that_a_provider_refused_says_so(tmp_path: Path) -> None:
    """The call itself went well, so what was refused must be told beside it."""
    path = tmp_path / "agent.py"
    path.write_text(
        "from livekit.agents import Agent, AgentSession, WorkerOptions, cli\n"
        "from livekit.plugins import cartesia, deepgram, openai\n"
        "async def entrypoint(ctx):\n"
        "    session = AgentSession(stt=deepgram.STT(), llm=openai.LLM(model='gpt-4.1'),\n"
        "                           tts=cartesia.TTS(model='sonic-9'))\n"
        "    await session.start(agent=Agent(instructions=''), room=ctx.room)\n"
        "if __name__ == '__main__':\n"
        "    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))\n"
    )
    results = run(str(path), calls=1, turns=1, fresh=True)
    (trouble,) = results.troubles.to_dict("records")
    assert "sonic-9" in trouble["error"] and f"{path}:5" in str(trouble)
    (call,) = results.calls.to_dict("records")
    assert (call["status"], call["error"]) == ("ok", "")
