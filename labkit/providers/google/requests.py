"""What a Gemini request may hold (Gemini API reference, v1beta, 2026), and what is refused."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NotRequired

from aiohttp import web
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from labkit.providers.bodies import Count, FailFast, Flaw, Share, strictly
from labkit.providers.server import Emulator, RequestError, shown

_CAMEL = re.compile(r"_([a-z])")
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


@strictly
class FunctionCall(TypedDict):
    """A call the model made."""

    name: str
    args: NotRequired[dict[str, Any] | None]
    id: NotRequired[str | None]


@strictly
class FunctionResponse(TypedDict):
    """What a function returned."""

    name: str
    response: dict[str, Any]
    id: NotRequired[str | None]
    willContinue: NotRequired[bool]
    scheduling: NotRequired[str]


@strictly
class Part(TypedDict):
    """A piece of a turn."""

    text: NotRequired[str]
    thought: NotRequired[bool]
    thoughtSignature: NotRequired[str]
    inlineData: NotRequired[dict[str, Any]]
    fileData: NotRequired[dict[str, Any]]
    videoMetadata: NotRequired[dict[str, Any]]
    functionCall: NotRequired[FunctionCall]
    functionResponse: NotRequired[FunctionResponse]
    executableCode: NotRequired[dict[str, Any]]
    codeExecutionResult: NotRequired[dict[str, Any]]
    speechMetadata: NotRequired[dict[str, Any]]


@strictly
class Content(TypedDict):
    """One turn, or the system instruction."""

    role: NotRequired[str]
    parts: NotRequired[Annotated[list[Part], FailFast]]


@strictly
class Declaration(TypedDict):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_.:-]*$", max_length=64)]
    description: NotRequired[str]
    parameters: NotRequired[dict[str, Any] | None]
    parametersJsonSchema: NotRequired[dict[str, Any] | None]
    response: NotRequired[dict[str, Any]]
    responseJsonSchema: NotRequired[dict[str, Any]]
    behavior: NotRequired[str]


@strictly
class ToolSet(TypedDict):
    """Functions, or a tool of the service's own, which is accepted and not used."""

    functionDeclarations: NotRequired[Annotated[list[Declaration], FailFast]]
    googleSearch: NotRequired[dict[str, Any]]
    googleSearchRetrieval: NotRequired[dict[str, Any]]
    googleMaps: NotRequired[dict[str, Any]]
    urlContext: NotRequired[dict[str, Any]]
    codeExecution: NotRequired[dict[str, Any]]
    fileSearch: NotRequired[dict[str, Any]]


@strictly
class Calling(TypedDict):
    """Whether functions must be called."""

    mode: NotRequired[Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"]]
    allowedFunctionNames: NotRequired[list[str] | None]


@strictly
class ToolConfig(TypedDict):
    """How tools are to be used."""

    functionCallingConfig: NotRequired[Calling | None]
    retrievalConfig: NotRequired[dict[str, Any] | None]
    includeServerSideToolInvocations: NotRequired[bool | None]


@strictly
class Thinking(TypedDict):
    """How much the model may reason first."""

    thinkingBudget: NotRequired[Annotated[int, Field(ge=-1)]]
    thinkingLevel: NotRequired[str]
    includeThoughts: NotRequired[bool]


@strictly
class Generating(TypedDict):
    """How the answer is to be made."""

    temperature: NotRequired[Annotated[float, Field(ge=0, le=2)]]
    topP: NotRequired[Share]
    topK: NotRequired[float]
    candidateCount: NotRequired[Annotated[int, Field(ge=1, le=8)]]
    maxOutputTokens: NotRequired[Count]
    stopSequences: NotRequired[Annotated[list[str], Field(max_length=5)]]
    responseMimeType: NotRequired[str]
    responseSchema: NotRequired[dict[str, Any]]
    responseJsonSchema: NotRequired[dict[str, Any]]
    responseModalities: NotRequired[list[str]]
    presencePenalty: NotRequired[float]
    frequencyPenalty: NotRequired[float]
    seed: NotRequired[int]
    responseLogprobs: NotRequired[bool]
    logprobs: NotRequired[int]
    thinkingConfig: NotRequired[Thinking]
    mediaResolution: NotRequired[str]
    speechConfig: NotRequired[dict[str, Any]]
    responseFormat: NotRequired[dict[str, Any]]
    continuationToken: NotRequired[str]


@strictly
class GenerateBody(TypedDict):
    """A request for an answer."""

    contents: NotRequired[Annotated[list[Content], FailFast]]
    systemInstruction: NotRequired[Content | None]
    tools: NotRequired[Annotated[list[ToolSet], FailFast] | None]
    toolConfig: NotRequired[ToolConfig | None]
    generationConfig: NotRequired[Generating | None]
    safetySettings: NotRequired[list[dict[str, Any]] | None]
    cachedContent: NotRequired[str]
    serviceTier: NotRequired[str]
    labels: NotRequired[dict[str, str]]
    model: NotRequired[str]


GENERATE: TypeAdapter[GenerateBody] = TypeAdapter(GenerateBody)


_VALUES = ("args", "response", "parameters", "labels")
_VALUE_ENDS = ("Schema", "schema")


def in_camel_case(body: Any) -> Any:
    """A body with the names of its fields in the form of the schema: the service takes both.

    google-genai sends ``parameters_json_schema`` in the other one. What is data is left alone.
    """
    if isinstance(body, list):
        return [in_camel_case(value) for value in body]
    if not isinstance(body, dict):
        return body
    return {
        _CAMEL.sub(lambda m: m[1].upper(), name): value
        if name in _VALUES or name.endswith(_VALUE_ENDS)
        else in_camel_case(value)
        for name, value in body.items()
    }


def key_of(service: Emulator, request: web.Request) -> str:
    """The key of an ``x-goog-api-key`` header or a ``key`` in the query.

    Raises:
        RequestError: there is none, or it is not accepted.
    """
    key = request.headers.get("x-goog-api-key") or request.query.get("key", "")
    if not key:
        raise RequestError(
            403,
            "Method doesn't allow unregistered callers (callers without established identity). "
            "Please use API Key or other form of API consumer identity to call this API.",
        )
    if not service.authorized(key):
        raise refused("API key not valid. Please pass a valid API key.")
    return key


def no_model(name: str) -> RequestError:
    """404 ``NOT_FOUND``."""
    return RequestError(
        404,
        f"models/{shown(name)} is not found for API version v1beta, or is not supported for "
        "generateContent. Call ModelService.ListModels to see the list of available models "
        "and their supported methods.",
    )


def refused(message: str) -> RequestError:
    """A request that the service refuses with status 400."""
    return RequestError(400, message)


def refusal_of(flaw: Flaw) -> RequestError:
    """A flaw in the service's words, as its JSON reader writes them."""
    path, last = _place(flaw.at[:-1]), str(flaw.at[-1]) if flaw.at else ""
    if flaw.kind == "extra_forbidden":
        at = f" at '{path}'" if path else ""
        return refused(
            f'Invalid JSON payload received. Unknown name "{shown(last)}"{at}: Cannot find field.'
        )
    place = _place(flaw.at)
    if flaw.kind == "missing":
        return refused(f"* GenerateContentRequest.{place}: {last} is required\n")
    return refused(f"Invalid value at '{place}': {flaw.text}, {shown(flaw.given)!r}")


def _place(at: tuple[str | int, ...]) -> str:
    """``contents[0].parts[1]``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in at)
    return shown("".join(steps).removeprefix("."))


def body_of(error: RequestError) -> web.Response:
    """An error in Google's form."""
    status = error.code or _STATUSES.get(error.status, "UNKNOWN")
    body = {"error": {"code": error.status, "message": error.message, "status": status}}
    return web.json_response(body, status=error.status, headers=error.headers)


def failure_of(status: int) -> RequestError:
    """An ordered failure, in the words of the service."""
    texts = {
        429: "Resource has been exhausted (e.g. check quota).",
        503: "The model is overloaded. Please try again later.",
    }
    return RequestError(status, texts.get(status, "An internal error has occurred."))
