"""Gemini's request as a prompt in the shared form, and its answer on the wire."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.providers import tokens
from labkit.providers.conversation import Message
from labkit.providers.generation import Generation, Wire
from labkit.providers.google.requests import Content, Declaration, GenerateBody, refused
from labkit.providers.schemas import unsound
from labkit.providers.tool_calls import Tool

_ROLES = {"user": "user", "model": "assistant", "function": "tool"}
SIGNATURE = base64.b64encode(b"a thought that only the service can read").decode()


@dataclass(frozen=True)
class Prompt:
    """A checked request.

    Attributes:
        messages: System instruction and turns in the shared form.
        tools: Its functions in the shared form.
        ids: The whole prompt as token numbers, four bytes each.
    """

    messages: list[Message]
    tools: list[Tool]
    ids: bytes

    @property
    def token_count(self) -> int:
        """Tokens of the whole prompt."""
        return len(self.ids) // 4


def parse(body: GenerateBody, *, signed: bool) -> Prompt:
    """Checks what a schema cannot express, and counts the prompt's tokens.

    Args:
        body: The request.
        signed: Whether each call of the present turn must carry its thought signature.

    Raises:
        RequestError: the service would answer 400.
    """
    contents = body.get("contents") or []
    if not contents:
        raise refused("* GenerateContentRequest.contents: contents is not specified\n")
    for i, content in enumerate(contents):
        if content.get("role", "user") not in _ROLES:
            raise refused("Please use a valid role: user, model.")
        if not content.get("parts"):
            text = "parts field must not be empty."
            raise refused(f"* GenerateContentRequest.contents[{i}].parts: contents.{text}\n")
    _check_calls(contents, signed=signed)
    declared = [d for tool in body.get("tools") or () for d in tool.get("functionDeclarations", ())]
    tools = [_tool(d, i) for i, d in enumerate(declared)]
    shared: list[Message] = []
    system = body.get("systemInstruction")
    if system:
        text = "\n".join(part.get("text", "") for part in system.get("parts", ()))
        shared.append(Message("system", text))
    for content in contents:
        shared += _messages(content)
    segments = [tokens.tools_segment([dict(d) for d in declared])]
    segments += [tokens.message_segment(m.role, [m.text]) for m in shared]
    return Prompt(shared, tools, b"".join(segments))


def texts_of(body: GenerateBody) -> Iterator[str]:
    """Every text that is part of the prompt."""
    system = body.get("systemInstruction")
    for content in [*([system] if system else []), *(body.get("contents") or ())]:
        for part in content.get("parts", ()):
            yield part.get("text", "")


def _tool(declared: Declaration, i: int) -> Tool:
    schema = declared.get("parametersJsonSchema") or _lower(declared.get("parameters")) or {}
    why = unsound(schema)
    if why is not None:
        at = f"tools[0].function_declarations[{i}].parameters"
        raise refused(f"* GenerateContentRequest.{at}: {why}\n")
    return Tool(declared["name"], declared.get("description", ""), schema)


def _lower(schema: Any) -> Any:
    """A schema of the service's own form, whose types are in capitals."""
    if isinstance(schema, list):
        return [_lower(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        k: v.lower() if k == "type" and isinstance(v, str) else _lower(v) for k, v in schema.items()
    }


def _check_calls(contents: Sequence[Content], *, signed: bool) -> None:
    """Refuses calls without results, results without calls, and calls without a signature."""
    for i, content in enumerate(contents):
        parts = content.get("parts", [])
        calls = [p["functionCall"]["name"] for p in parts if "functionCall" in p]
        results = [p["functionResponse"]["name"] for p in parts if "functionResponse" in p]
        if results:
            before = contents[i - 1].get("parts", []) if i else []
            asked = sum("functionCall" in p for p in before)
            if asked != len(results):
                raise refused(
                    "Please ensure that the number of function response parts is equal to the "
                    "number of function call parts of the function call turn."
                )
        if calls and i and contents[i - 1].get("role") == "model":
            raise refused(
                "Please ensure that function call turn comes immediately after a user turn or "
                "after a function response turn."
            )
    if not signed:
        return
    asked_at = max(
        (i for i, c in enumerate(contents) if any("text" in p for p in c.get("parts", ()))
         and c.get("role", "user") == "user"),
        default=0,
    )  # fmt: skip
    for i, content in enumerate(contents[asked_at:], asked_at):
        first = next((p for p in content.get("parts", ()) if "functionCall" in p), None)
        if first is not None and not first.get("thoughtSignature"):
            name = first["functionCall"]["name"]
            raise refused(
                f"Function call is missing a thought_signature in functionCall parts. This is "
                f"required for tools to work correctly. Function call `default_api:{name}`, "
                f"position {i + 1}."
            )


def _messages(content: Content) -> Iterator[Message]:
    """A turn in the shared form: its texts, calls and results each as a message."""
    role = _ROLES[content.get("role", "user")]
    for part in content.get("parts", ()):
        if part.get("thought"):
            continue
        if "functionResponse" in part:
            result = part["functionResponse"]["response"]
            failed = "error" in result
            value = result.get("error" if failed else "output", result)
            text = value if isinstance(value, str) else json.dumps(value)
            yield Message("tool", text, failed=failed)
        elif "functionCall" in part:
            yield Message("assistant", "")
        elif "text" in part:
            yield Message(role, part["text"])


# -- the answer -----------------------------------------------------------------------------------


def parts_of(generation: Generation, call_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The whole answer as parts."""
    thought = [
        {"text": "".join(row), "thought": True} for row in generation.pieces[: generation.thought]
    ]
    if not generation.answer.tool_calls:
        return [*thought, {"text": "".join(generation.said[0])}]
    calls = zip(generation.answer.tool_calls, call_ids, strict=True)
    return [*thought, *(_call(call.name, call.arguments, i, name) for i, (call, name) in
            enumerate(calls))]  # fmt: skip


def _call(name: str, arguments: Any, index: int, call_id: str) -> dict[str, Any]:
    part = {"functionCall": {"name": name, "args": dict(arguments), "id": call_id}}
    return part if index else part | {"thoughtSignature": SIGNATURE}


def streamed(
    generation: Generation,
    call_ids: Sequence[str],
    reason: str,
    usage: dict[str, Any],
    head: dict[str, Any],
) -> Wire:
    """The answer as server-sent events: a chunk for what leaves at once, a call as a whole.

    Args:
        generation: What is answered.
        call_ids: Ids of the tool calls.
        reason: Why the answer ends.
        usage: The token account.
        head: The fields that every chunk repeats.
    """

    def event(parts: list[dict[str, Any]], **more: Any) -> bytes:
        content = {"parts": parts, "role": "model"}
        candidate = {"content": content, "index": 0, **more}
        chunk = {"candidates": [candidate], "usageMetadata": usage, **head}
        return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\r\n\r\n"

    rows = [(piece, i) for i, row in enumerate(generation.pieces) for piece in row]
    calls, shown_from = generation.answer.tool_calls, generation.thought
    pieces: list[bytes] = []
    starts = {0}
    for burst in generation.bursts:
        starts.add(max(starts) + burst.tokens)
    run: list[tuple[str, int]] = []

    def flushed() -> bytes:
        out = b""
        for thought in (True, False):
            text = "".join(piece for piece, i in run if (i < shown_from) == thought)
            if text:
                out += event([{"text": text, "thought": True} if thought else {"text": text}])
        return out

    for n, (piece, i) in enumerate(rows):
        if calls and i >= shown_from:
            last = n + 1 == len(rows) or rows[n + 1][1] != i
            call = calls[i - shown_from]
            part = _call(call.name, call.arguments, i - shown_from, call_ids[i - shown_from])
            pieces.append(event([part]) if last else b"")
            continue
        run.append((piece, i))
        if n + 1 in starts or n + 1 == len(rows) or (calls and rows[n + 1][1] >= shown_from):
            pieces.append(flushed())
            run.clear()
        else:
            pieces.append(b"")
    return Wire(b"", pieces, event([{"text": ""}], finishReason=reason))


def usage_of(generation: Generation) -> dict[str, Any]:
    """The token account; what is nothing is left out, as the service does."""
    prompt, output = generation.prompt_tokens, generation.output_tokens()
    usage: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output,
        "totalTokenCount": prompt + output + generation.thought_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    if generation.cache.read:
        usage["cachedContentTokenCount"] = generation.cache.read
    if generation.thought_tokens:
        usage["thoughtsTokenCount"] = generation.thought_tokens
    return usage
