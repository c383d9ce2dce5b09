"""Push to talk: the caller's app says when a turn begins and ends.

The app calls ``start_turn`` when the button is pressed and ``end_turn`` when it is let go, as in
LiveKit's own example (https://github.com/livekit/agents, examples/voice_agents/push_to_talk.py).
Between turns the microphone is closed, unless ``agent.closes_microphone`` is false.
"""

import json
from typing import Any

from livekit import rtc
from livekit.agents import Agent, JobContext, StopResponse, WorkerOptions, cli, llm
from vanilla import INSTRUCTIONS, build_session


class PushToTalk(Agent):
    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        if not new_message.text_content:
            raise StopResponse()  # the button was pressed and nothing was said


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    params: dict[str, Any] = json.loads(ctx.job.metadata or "{}")
    closes_microphone = params.get("agent.closes_microphone", True)
    session = build_session({**params, "turn_detection": "manual"})
    await session.start(agent=PushToTalk(instructions=INSTRUCTIONS), room=ctx.room)
    if closes_microphone:
        session.input.set_audio_enabled(False)

    async def start_turn(data: rtc.RpcInvocationData) -> str:
        session.interrupt()
        session.clear_user_turn()
        if closes_microphone:
            session.input.set_audio_enabled(True)
        return "listening"

    async def end_turn(data: rtc.RpcInvocationData) -> str:
        if closes_microphone:
            session.input.set_audio_enabled(False)
        session.commit_user_turn(
            transcript_timeout=params.get("agent.transcript_timeout_s", 2.0),
            stt_flush_duration=params.get("agent.flush_s", 2.0),
        )
        return "committed"

    ctx.room.local_participant.register_rpc_method("start_turn", start_turn)
    ctx.room.local_participant.register_rpc_method("end_turn", end_turn)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
