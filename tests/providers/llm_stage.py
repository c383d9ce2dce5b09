"""What the tests of the two chat services share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anthropic
import openai
from livekit.agents import function_tool, llm
from livekit.plugins import anthropic as anthropic_plugin
from livekit.plugins import openai as openai_plugin

from labkit.providers.anthropic.service import AnthropicEmulator
from labkit.providers.openai.service import OpenAIEmulator
from labkit.providers.profile import Profile, load_profiles
from labkit.providers.server import listening
from labkit.world.events import Event
from labkit.world.scene import Scene

E = TypeVar("E", bound=Event)

POLICY = "What's your return policy?"
POLICY_REPLY = (
    "You can return most items within thirty days. Returns are free, and we pay the refund to the "
    "same card."
)
ACME = "You are the phone assistant of Acme Home, a furniture shop."


@function_tool
async def lookup_order(order_id: str) -> str:
    """Finds an order by its number and says where it is.

    Args:
        order_id: The order number, four digits.
    """
    return "{}"


def overlaid(provider: str, tmp_path: Path, *lines: str) -> Profile:
    """The provider's profile with changed figures; each line is ``table | key = value``."""
    text = ""
    for line in lines:
        table, _, change = line.partition(" | ")
        name, _, value = change.partition(" = ")
        text += f'[{provider}.{table}]\n{name} = {{{value}, source = "test", date = "2026"}}\n'
    path = tmp_path / "overlay.toml"
    path.write_text(text)
    return load_profiles(path)[provider]


@dataclass
class Heard:
    """What a LiveKit LLM stream gave, with loop times from its start."""

    text: str = ""
    times_s: list[float] = field(default_factory=list)
    calls: list[llm.FunctionToolCall] = field(default_factory=list)
    usage: llm.CompletionUsage | None = None


def context(*turns: tuple[str, str]) -> llm.ChatContext:
    """A chat context of ``(role, text)`` messages."""
    chat = llm.ChatContext()
    for role, text in turns:
        chat.add_message(role=role, content=text)  # type: ignore[arg-type]
    return chat


async def listen(
    model: llm.LLM, chat: llm.ChatContext, tools: Sequence[Any] = (), stop_after: int = 10**9
) -> Heard:
    """Reads a stream, all of it or until ``stop_after`` chunks with content arrived."""
    loop, heard = asyncio.get_running_loop(), Heard()
    start_s = loop.time()
    async with model.chat(chat_ctx=chat, tools=list(tools)) as stream:
        async for chunk in stream:
            if chunk.usage:
                heard.usage = chunk.usage
            if chunk.delta and (chunk.delta.content or chunk.delta.tool_calls):
                heard.text += chunk.delta.content or ""
                heard.calls += chunk.delta.tool_calls
                heard.times_s.append(loop.time() - start_s)
                if len(heard.times_s) >= stop_after:
                    break
    return heard


def rows(scene: Scene, kind: type[E]) -> list[E]:
    """The logged events of one kind."""
    return [e for e in scene.log.events if isinstance(e, kind)]


class OpenAIStage:
    """A served OpenAI emulator and its clients."""

    def __init__(self, emulator: OpenAIEmulator, scene: Scene, port: int) -> None:
        self.emulator, self.scene = emulator, scene
        self.url = f"http://127.0.0.1:{port}/v1"

    def llm(self, model: str = "gpt-4o-mini", **options: Any) -> openai_plugin.LLM:
        return openai_plugin.LLM(model=model, api_key="sk-test", base_url=self.url, **options)

    def client(self, key: str = "sk-test") -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(api_key=key, base_url=self.url, max_retries=0)


class AnthropicStage:
    """A served Anthropic emulator and its clients."""

    def __init__(self, emulator: AnthropicEmulator, scene: Scene, port: int) -> None:
        self.emulator, self.scene = emulator, scene
        self.url = f"http://127.0.0.1:{port}"

    def llm(self, model: str = "claude-haiku-4-5", **options: Any) -> anthropic_plugin.LLM:
        return anthropic_plugin.LLM(model=model, api_key="sk-test", base_url=self.url, **options)

    def client(self, key: str = "sk-test") -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(api_key=key, base_url=self.url, max_retries=0)


@asynccontextmanager
async def openai_stage(profile: Profile, **options: Any) -> AsyncIterator[OpenAIStage]:
    """Serves OpenAI in a call of its own."""
    scene = Scene(seed=1, turn=0)
    emulator = OpenAIEmulator(profile, lambda: scene, **options)
    async with listening(emulator) as port:
        yield OpenAIStage(emulator, scene, port)


@asynccontextmanager
async def anthropic_stage(profile: Profile, **options: Any) -> AsyncIterator[AnthropicStage]:
    """Serves Anthropic in a call of its own."""
    scene = Scene(seed=1, turn=0)
    emulator = AnthropicEmulator(profile, lambda: scene, **options)
    async with listening(emulator) as port:
        yield AnthropicStage(emulator, scene, port)


def say(text: str = POLICY, system: str = ACME) -> list[dict[str, Any]]:
    """Messages of an OpenAI request."""
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def ask(**change: Any) -> dict[str, Any]:
    """An Anthropic request."""
    request: dict[str, Any] = {
        "model": "claude-haiku-4-5",
        "max_tokens": 200,
        "system": ACME,
        "messages": [{"role": "user", "content": POLICY}],
    }
    return request | change
