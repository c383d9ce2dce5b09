"""Push to talk: the caller's app says when a turn begins and ends.

The app calls ``start_turn`` when the button is pressed and ``end_turn`` when it is let go, as in
LiveKit's own example (https://github.com/livekit/agents, examples/voice_agents/push_to_talk.py).
Between turns the microphone is closed, unless ``agent.closes_microphone`` is false.
``agent.flush_s`` and ``agent.transcript_timeout_s`` are how much silence the STT gets when the
button is let go, and how long its transcript is waited for.
"""

import json

from livekit import rtc
from livekit.agents import Agent, JobContext, StopResponse, WorkerOptions, cli, llm
from vanilla import INSTRUCTIONS, build_session

PARAMETERS = {
    "agent.closes_microphone": True,
    "agent.flush_s": 2.0,
    "agent.transcript_timeout_s": 2.0,
}


class PushToTalk(Agent):
    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        if not new_message.text_content:
            raise StopResponse()  # the button was pressed and nothing was said


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    closes_microphone = p["agent.closes_microphone"]
    p.setdefault("session", {}).setdefault("turn_handling", {})["turn_detection"] = "manual"
    session = build_session(p)
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
            transcript_timeout=p["agent.transcript_timeout_s"],
            stt_flush_duration=p["agent.flush_s"],
        )
        return "committed"

    ctx.room.local_participant.register_rpc_method("start_turn", start_turn)
    ctx.room.local_participant.register_rpc_method("end_turn", end_turn)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
