"""What OpenAI's chat and embeddings requests may hold (OpenAI API reference, 2026)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, Required

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from labkit.providers.bodies import Count, FailFast, Share, strictly

_LONGEST_TEXT = 10_485_760  # characters, as the service's own refusal says
Text = Annotated[str, Field(max_length=_LONGEST_TEXT)]
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$", max_length=64)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


@strictly
class Part(TypedDict):
    """A piece of a message's content."""

    type: Literal["text", "image_url", "input_audio", "refusal", "audio", "file"]
    text: NotRequired[Text]
    refusal: NotRequired[Text]
    image_url: NotRequired[dict[str, Any]]
    input_audio: NotRequired[dict[str, Any]]
    file: NotRequired[dict[str, Any]]
    prompt_cache_breakpoint: NotRequired[dict[str, Any] | None]


@strictly
class CalledFunction(TypedDict):
    """Name and arguments of a call the model made."""

    name: str
    arguments: Text


@strictly
class Call(TypedDict):
    """A call the model made."""

    id: str
    type: Literal["function"]
    function: CalledFunction


@strictly
class ChatMessage(TypedDict):
    """One message."""

    role: Literal["system", "assistant", "user", "function", "tool", "developer"]
    content: NotRequired[Text | Annotated[list[Part], FailFast] | None]
    name: NotRequired[str | None]
    refusal: NotRequired[Text | None]
    tool_calls: NotRequired[Annotated[list[Call], FailFast, Field(max_length=128)] | None]
    tool_call_id: NotRequired[str | None]
    function_call: NotRequired[CalledFunction | None]
    audio: NotRequired[dict[str, Any] | None]
    annotations: NotRequired[list[Any] | None]


@strictly
class Function(TypedDict):
    """A function the model may call."""

    name: Name
    description: NotRequired[Text | None]
    parameters: NotRequired[dict[str, Any] | None]
    strict: NotRequired[bool | None]


@strictly
class FunctionTool(TypedDict):
    """A tool of the only kind emulated here."""

    type: Literal["function"]
    function: Function


@strictly
class _Named(TypedDict):
    name: str


@strictly
class Choice(TypedDict):
    """The function that must be called."""

    type: Required[Literal["function"]]
    function: _Named


@strictly
class JsonSchema(TypedDict):
    """The schema an answer must follow."""

    name: Name
    description: NotRequired[str | None]
    schema: NotRequired[dict[str, Any] | None]
    strict: NotRequired[bool | None]


@strictly
class ResponseFormat(TypedDict):
    """What an answer must look like."""

    type: Literal["json_object", "json_schema", "text"]
    json_schema: NotRequired[JsonSchema | None]


@strictly
class StreamOptions(TypedDict):
    """What a stream holds besides the answer."""

    include_usage: NotRequired[bool | None]
    include_obfuscation: NotRequired[bool | None]


@strictly
class CacheOptions(TypedDict):
    """Where cache entries end."""

    mode: NotRequired[Literal["implicit", "explicit"]]
    ttl: NotRequired[Literal["30m"]]


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]
Stop = Text | Annotated[list[Text], Field(max_length=4, fail_fast=True)]
Mode = Literal["none", "auto", "required"]


@strictly
class ChatBody(TypedDict):
    """A chat request; fields in the order in which the service finds fault with them."""

    model: str
    messages: Annotated[list[ChatMessage], FailFast, Field(min_length=1, max_length=2048)]
    functions: NotRequired[Annotated[list[Function], FailFast, Field(max_length=128)] | None]
    function_call: NotRequired[Literal["none", "auto"] | _Named | None]
    tools: NotRequired[Annotated[list[FunctionTool], FailFast, Field(max_length=128)] | None]
    tool_choice: NotRequired[Mode | Choice | None]
    parallel_tool_calls: NotRequired[bool | None]
    max_completion_tokens: NotRequired[Count | None]
    n: NotRequired[Annotated[int, Field(ge=1, le=8)] | None]
    temperature: NotRequired[Annotated[float, Field(ge=0, le=2)] | None]
    top_p: NotRequired[Share | None]
    presence_penalty: NotRequired[Penalty | None]
    frequency_penalty: NotRequired[Penalty | None]
    logprobs: NotRequired[bool | None]
    top_logprobs: NotRequired[Annotated[int, Field(ge=0, le=20)] | None]
    user: NotRequired[str | None]
    seed: NotRequired[Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None]
    moderation: NotRequired[dict[str, Any] | None]
    safety_identifier: NotRequired[Annotated[str, Field(max_length=64)] | None]
    prompt_cache_options: NotRequired[CacheOptions | None]
    prompt_cache_key: NotRequired[str | None]
    prompt_cache_retention: NotRequired[Literal["in_memory", "in-memory", "24h"] | None]
    response_format: NotRequired[ResponseFormat | None]
    service_tier: NotRequired[
        Literal["auto", "default", "fast", "flex", "priority", "scale"] | None
    ]
    max_tokens: NotRequired[Count | None]
    reasoning_effort: NotRequired[
        Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    ]
    logit_bias: NotRequired[dict[str, Annotated[float, Field(ge=-100, le=100)]] | None]
    stop: NotRequired[Stop | None]
    stream: NotRequired[bool | None]
    stream_options: NotRequired[StreamOptions | None]
    store: NotRequired[bool | None]
    metadata: NotRequired[Metadata | None]
    prediction: NotRequired[dict[str, Any] | None]
    verbosity: NotRequired[Literal["low", "medium", "high"] | None]
    modalities: NotRequired[list[Literal["text", "audio"]] | None]
    audio: NotRequired[dict[str, Any] | None]
    web_search_options: NotRequired[dict[str, Any] | None]


Tokens = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], FailFast, Field(min_length=1)]
NotEmpty = Annotated[Text, Field(min_length=1)]


@strictly
class EmbeddingsBody(TypedDict):
    """An embeddings request: texts, or texts as token numbers."""

    model: str
    input: (
        NotEmpty
        | Annotated[list[NotEmpty], FailFast, Field(min_length=1)]
        | Tokens
        | Annotated[list[Tokens], FailFast, Field(min_length=1)]
    )
    dimensions: NotRequired[Count | None]
    encoding_format: NotRequired[Literal["float", "base64"] | None]
    user: NotRequired[str | None]


CHAT: TypeAdapter[ChatBody] = TypeAdapter(ChatBody)
EMBEDDINGS: TypeAdapter[EmbeddingsBody] = TypeAdapter(EmbeddingsBody)
