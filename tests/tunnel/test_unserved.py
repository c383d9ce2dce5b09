"""Realtime models and avatars may stand in a file; a call that uses one ends and says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.engine.run import run
from labkit.errors import UsageError

HEAD = """\
from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli
from livekit.agents.voice import avatar
from livekit.plugins import cartesia, deepgram, openai

LIVE = openai.realtime.RealtimeModel()
PARTS = {"stt": deepgram.STT(), "llm": openai.LLM(model="gpt-4.1-mini"), "tts": cartesia.TTS()}


class Face(avatar.AvatarSession):
    avatar_identity = "face"


class Receptionist(Agent):
    async def on_user_turn_completed(self, turn_ctx, new_message):
        self.session.update_agent(Agent(instructions="", llm=LIVE))


async def entrypoint(ctx: JobContext):
    await ctx.connect()
"""
TAIL = """
if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
"""
USES = {
    "the session's model": (
        "    session = AgentSession(llm=openai.realtime.RealtimeModel())\n"
        "    await session.start(agent=Agent(instructions=''), room=ctx.room)\n",
        "agent.py:20: openai.RealtimeModel: realtime models are not emulated: give the session",
    ),
    "one handed over to": (
        "    session = AgentSession(**PARTS)\n"
        "    await session.start(agent=Receptionist(instructions=''), room=ctx.room)\n",
        "agent.py:5: openai.RealtimeModel: realtime models are not emulated",
    ),
    "an avatar, though the exception is caught": (
        "    session, face = AgentSession(**PARTS), Face()\n"
        "    try:\n"
        "        await face.start(session, room=ctx.room)\n"
        "    except Exception:\n"
        "        pass\n"
        "    await session.start(agent=Agent(instructions=''), room=ctx.room)\n",
        "agent.py:20: Face: avatars are not emulated: leave the avatar out",
    ),
}


@pytest.mark.parametrize("how", USES)
def test_the_run_ends_with_the_line(tmp_path: Path, how: str) -> None:
    body, said = USES[how]
    path = tmp_path / "agent.py"
    path.write_text(HEAD + body + TAIL)
    with pytest.raises(UsageError) as refused:
        run(str(path), calls=1, turns=1, fresh=True)
    assert str(refused.value).startswith(f"{tmp_path}/{said}")
    assert refused.value.exit_code == 2


def test_one_that_no_call_reaches_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "agent.py"
    body = (
        "    session = AgentSession(**PARTS)\n"
        "    await session.start(agent=Agent(instructions=''), room=ctx.room)\n"
    )
    path.write_text(HEAD + "    Face()\n" + body + TAIL)
    results = run(str(path), calls=1, turns=1, fresh=True)
    assert list(results.turns["outcome"]) == ["answered"]
