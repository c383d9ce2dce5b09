"""The published stack: every line of the guide that its listing sets, on today's SDK.

``agent.repaired`` moves the choice of the model to where it works. Without it the agent answers
nothing: ``Agent.llm`` cannot be assigned to, and the hook that tries takes the turn with it.
"""

import json

from _embedder import Embedder
from livekit.agents import (
    Agent,
    AgentSession,
    JobContext,
    JobProcess,
    WorkerOptions,
    cli,
    llm,
)
from livekit.plugins import cartesia, deepgram, silero
from model_routing import PARAMETERS as ROUTING
from model_routing import RoutedInNode, Router
from vanilla import INSTRUCTIONS, build_llm

PARAMETERS = {"agent.repaired": False, "agent.light_model": "gpt-4.1-nano"}
OPTIONS = ("llm",)

SHORT_TURN_WORDS = 6


class AsPublished(Agent):
    def __init__(self, light: llm.LLM, heavy: llm.LLM) -> None:
        super().__init__(instructions=INSTRUCTIONS)
        self._light, self._heavy = light, heavy

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        short = len((new_message.text_content or "").split()) <= SHORT_TURN_WORDS
        self.llm = self._light if short else self._heavy  # type: ignore[misc]


def prewarm(proc: JobProcess) -> None:
    proc.userdata["vad"] = silero.VAD.load(min_silence_duration=0.4, prefix_padding_duration=0.2)
    proc.userdata["tts"] = cartesia.TTS(model="sonic-3")


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    light = build_llm(p, model=p["agent.light_model"])
    heavy = build_llm(p)
    session: AgentSession = AgentSession(
        stt=deepgram.STT(model="nova-3"),
        llm=heavy,
        tts=ctx.proc.userdata["tts"],
        vad=ctx.proc.userdata["vad"],
        min_endpointing_delay=0.4,
        max_endpointing_delay=2.0,
        preemptive_generation=True,
        aec_warmup_duration=3.0,
    )
    if p["agent.repaired"]:
        rule = ROUTING | {"agent.rule": "length", "agent.max_words": SHORT_TURN_WORDS}
        agent: Agent = RoutedInNode(Router(Embedder(), rule), light, heavy)
    else:
        agent = AsPublished(light, heavy)
    await session.start(agent=agent, room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, prewarm_fnc=prewarm))
