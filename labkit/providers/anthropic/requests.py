"""What Anthropic's messages request may hold (Anthropic API reference, 2026), and its refusals."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from labkit.providers.bodies import Count, FailFast, Flaw, NotJson, Share, strictly
from labkit.providers.server import RequestError, shown

_MOST_MESSAGES = 2_000  # the true service accepts 100,000, which would keep others waiting here


@strictly
class Mark(TypedDict):
    """Where a cache entry shall end."""

    type: Literal["ephemeral"]
    ttl: NotRequired[Literal["5m", "1h"]]


@strictly
class TextBlock(TypedDict):
    """Text."""

    type: Literal["text"]
    text: str
    cache_control: NotRequired[Mark | None]
    citations: NotRequired[list[Any] | None]


@strictly
class ImageBlock(TypedDict):
    """A picture, which weighs something and says nothing."""

    type: Literal["image"]
    source: dict[str, Any]
    cache_control: NotRequired[Mark | None]


@strictly
class DocumentBlock(TypedDict):
    """A document, likewise."""

    type: Literal["document"]
    source: dict[str, Any]
    title: NotRequired[str | None]
    context: NotRequired[str | None]
    citations: NotRequired[dict[str, Any] | None]
    cache_control: NotRequired[Mark | None]


@strictly
class ThinkingBlock(TypedDict):
    """Reasoning that was shown."""

    type: Literal["thinking"]
    thinking: str
    signature: str


@strictly
class RedactedBlock(TypedDict):
    """Reasoning that was hidden."""

    type: Literal["redacted_thinking"]
    data: str


@strictly
class ToolUseBlock(TypedDict):
    """A call the model made."""

    type: Literal["tool_use"]
    id: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$")]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    input: dict[str, Any]
    caller: NotRequired[dict[str, Any] | None]
    cache_control: NotRequired[Mark | None]


ResultPart = Annotated[TextBlock | ImageBlock | DocumentBlock, Field(discriminator="type")]


@strictly
class ToolResultBlock(TypedDict):
    """What a tool returned."""

    type: Literal["tool_result"]
    tool_use_id: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$")]
    content: NotRequired[str | Annotated[list[ResultPart], FailFast]]
    is_error: NotRequired[bool | None]
    cache_control: NotRequired[Mark | None]


ContentBlock = Annotated[
    TextBlock
    | ImageBlock
    | DocumentBlock
    | ThinkingBlock
    | RedactedBlock
    | ToolUseBlock
    | ToolResultBlock,
    Field(discriminator="type"),
]


@strictly
class Turn(TypedDict):
    """One message."""

    role: Literal["user", "assistant"]
    content: str | Annotated[list[ContentBlock], FailFast]


@strictly
class ToolDefinition(TypedDict):
    """A tool of the caller's own."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    input_schema: dict[str, Any]
    description: NotRequired[str]
    type: NotRequired[Literal["custom"] | None]
    strict: NotRequired[bool]
    cache_control: NotRequired[Mark | None]
    input_examples: NotRequired[list[dict[str, Any]]]
    allowed_callers: NotRequired[list[str]]
    defer_loading: NotRequired[bool]
    eager_input_streaming: NotRequired[bool | None]


@strictly
class _Auto(TypedDict):
    type: Literal["auto"]
    disable_parallel_tool_use: NotRequired[bool]


@strictly
class _Any(TypedDict):
    type: Literal["any"]
    disable_parallel_tool_use: NotRequired[bool]


@strictly
class _Tool(TypedDict):
    type: Literal["tool"]
    name: str
    disable_parallel_tool_use: NotRequired[bool]


@strictly
class _None(TypedDict):
    type: Literal["none"]


Choice = Annotated[_Auto | _Any | _Tool | _None, Field(discriminator="type")]


@strictly
class _Enabled(TypedDict):
    type: Literal["enabled"]
    budget_tokens: Annotated[int, Field(ge=1024)]
    display: NotRequired[Literal["summarized", "omitted"] | None]


@strictly
class _Adaptive(TypedDict):
    type: Literal["adaptive"]
    display: NotRequired[Literal["summarized", "omitted"] | None]


@strictly
class _Disabled(TypedDict):
    type: Literal["disabled"]


Thinking = Annotated[_Enabled | _Adaptive | _Disabled, Field(discriminator="type")]


@strictly
class _Format(TypedDict):
    type: Literal["json_schema"]
    schema: dict[str, Any]


@strictly
class OutputConfig(TypedDict):
    """What the answer must look like, and how hard to try."""

    effort: NotRequired[Literal["low", "medium", "high", "xhigh", "max"] | None]
    format: NotRequired[_Format | None]
    task_budget: NotRequired[dict[str, Any] | None]


@strictly
class Metadata(TypedDict):
    """Who asks."""

    user_id: NotRequired[Annotated[str, Field(max_length=256)] | None]


@strictly
class CountBody(TypedDict):
    """A request whose tokens are to be counted."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[Turn], FailFast, Field(max_length=_MOST_MESSAGES)]
    system: NotRequired[str | Annotated[list[TextBlock], FailFast]]
    tools: NotRequired[Annotated[list[ToolDefinition], FailFast]]
    tool_choice: NotRequired[Choice]
    thinking: NotRequired[Thinking]
    cache_control: NotRequired[Mark | None]
    output_config: NotRequired[OutputConfig]
    output_format: NotRequired[_Format | None]
    context_management: NotRequired[dict[str, Any] | None]
    mcp_servers: NotRequired[list[dict[str, Any]]]
    betas: NotRequired[list[str]]
    speed: NotRequired[Literal["standard", "fast"] | None]


@strictly
class MessagesBody(CountBody):
    """A messages request."""

    max_tokens: Count
    stream: NotRequired[bool]
    temperature: NotRequired[Share]
    top_p: NotRequired[Share]
    top_k: NotRequired[Annotated[int, Field(ge=0)]]
    stop_sequences: NotRequired[Annotated[list[str], FailFast, Field(max_length=8191)]]
    metadata: NotRequired[Metadata]
    service_tier: NotRequired[Literal["auto", "standard_only"]]
    container: NotRequired[str | dict[str, Any] | None]
    inference_geo: NotRequired[str | None]


MESSAGES: TypeAdapter[MessagesBody] = TypeAdapter(MessagesBody)
COUNT: TypeAdapter[CountBody] = TypeAdapter(CountBody)

_TEXTS = {
    "missing": "Field required",
    "extra_forbidden": "Extra inputs are not permitted",
    "list_type": "Input should be a valid array",
    "dict_type": "Input should be an object",
}


def refused(message: str) -> RequestError:
    """A request the service refuses with status 400."""
    return RequestError(400, message)


def refusal_of(flaw: Flaw) -> RequestError:
    """A flaw in the service's words: it names the types of blocks on the way, as pydantic does."""
    tags = list(flaw.tags)
    if len(tags) > 2 and tags[0] == "tools":
        tags.insert(2, "custom")
    path = ".".join(map(str, tags))
    return refused(shown(f"{path}: {_TEXTS.get(flaw.kind, flaw.text)}", 400))


def not_json(error: NotJson) -> RequestError:
    """A body that is no JSON, with the place as the service names it."""
    what, _, column = str(error).replace(" at line", ": line").rpartition(" column ")
    at = f" column {column} (char {max(int(column) - 1, 0)})" if column.isdigit() else ""
    return refused(f"The request body is not valid JSON: {what}{at}")


def page_size(text: str) -> int:
    """The ``limit`` of a list of models.

    Raises:
        RequestError: it is no number from 1 to 1000.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise refused(
            "limit: Input should be a valid integer, unable to parse string as an integer"
        )
    if not 1 <= int(text) <= 1000:
        bound = "greater than or equal to 1" if int(text) < 1 else "less than or equal to 1000"
        raise refused(f"limit: Input should be {bound}")
    return int(text)
