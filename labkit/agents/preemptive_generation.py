"""Preemptive generation: the reply is begun before it is certain that the caller has finished.

Run it with ``python preemptive_generation.py dev``. Two ways to set it up:

as_published  The session's own argument, on an STT that sends finals. It changes nothing: the SDK
              does this by default, and the argument is deprecated.
done_right    An STT that announces an eager end of turn, when a turn is *probably* over. The reply
              starts there instead of at the final transcript.

Either way the SDK never starts a reply on an interim transcript. The agent counts what each call to
the LLM had to start from, so that this can be seen.
"""

import json
import logging
from collections.abc import AsyncIterable
from typing import Any

from livekit.agents import (
    Agent,
    AgentSession,
    AgentStateChangedEvent,
    JobContext,
    ModelSettings,
    UserInputTranscribedEvent,
    WorkerOptions,
    cli,
    llm,
)
from livekit.plugins import deepgram
from vanilla import INSTRUCTIONS, build_llm, build_session, build_tts, choice

PARAMETERS = {"agent.variant": "done_right"}
OPTIONS = ("session.turn_handling", "turn_detector", "llm", "tts", "stt.eager_eot_threshold")

logger = logging.getLogger("agent")


def as_published(p: dict[str, Any]) -> AgentSession:
    return AgentSession(
        stt=deepgram.STT(model="nova-3"),
        llm=build_llm(p),
        tts=build_tts(p),
        preemptive_generation=True,
    )


def done_right(p: dict[str, Any]) -> AgentSession:
    # from this confidence on Flux announces the end of the turn, and takes it back if need be;
    # without a threshold it announces nothing
    options = {"eager_eot_threshold": 0.4} | p.get("stt", {})
    # preemptive generation itself is on by default
    return build_session(p, stt=deepgram.STTv2(model="flux-general-en", **options))


VARIANTS = {"as_published": as_published, "done_right": done_right}


class Watched(Agent):
    """Counts the LLM's calls in a turn by the transcript they had to start from."""

    def __init__(self) -> None:
        super().__init__(instructions=INSTRUCTIONS)
        self._reset()

    def _reset(self) -> None:
        self.interims = self.finals = self.calls_before_final = self.calls_after_final = 0

    async def on_enter(self) -> None:
        self.session.on("user_input_transcribed", self._heard)
        self.session.on("agent_state_changed", self._changed)

    def _heard(self, event: UserInputTranscribedEvent) -> None:
        self.finals += event.is_final
        self.interims += not event.is_final and not self.finals
        self._tell()

    def _changed(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._reset()

    async def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> AsyncIterable[llm.ChatChunk | str]:
        self.calls_after_final += self.finals > 0
        self.calls_before_final += self.finals == 0
        self._tell()
        async for chunk in Agent.default.llm_node(self, chat_ctx, tools, model_settings):
            yield chunk

    def _tell(self) -> None:
        facts = {
            "interims_before_final": self.interims,
            "calls_before_final": self.calls_before_final,
            "calls_after_final": self.calls_after_final,
        }
        logger.info("what the model started from", extra={"turn": facts})


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    p = PARAMETERS | json.loads(ctx.job.metadata or "{}")
    session = VARIANTS[choice(p, "agent.variant", VARIANTS)](p)
    await session.start(agent=Watched(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
