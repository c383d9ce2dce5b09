"""Requests that no honest client sends, made from ones that an honest client sends."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

VOICE = {"mode": "id", "id": "f786b574-daa5-4673-aa0c-cbe3e8534c02"}
RAW = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SCHEMA = {"type": "object", "properties": {"x": {"type": "string", "enum": ["a", "b"]}}}

CHAT: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "system", "content": "Answer as json."},
        {"role": "user", "content": [{"type": "text", "text": "Where is Paris?"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "{'a': 1}"},
        {"role": "user", "content": "And the weather there?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "description": "Weather.", "parameters": SCHEMA},
        }
    ],
    "tool_choice": "auto",
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
    "stream_options": {"include_usage": True},
    "stream": False,
    "max_tokens": 5,
    "n": 2,
    "stop": ["x", "y"],
    "logprobs": True,
    "top_logprobs": 2,
    "temperature": 1.0,
    "metadata": {"a": "b"},
    "logit_bias": {"50256": -100},
    "seed": 1,
}
EMBEDDINGS: dict[str, Any] = {
    "model": "text-embedding-3-small",
    "input": ["hello", "there"],
    "dimensions": 64,
    "encoding_format": "base64",
}
MESSAGES: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "Where is Paris?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": "a"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [{"type": "text", "text": "ok"}],
                }
            ],
        },
    ],
    "tools": [{"name": "f", "description": "Weather.", "input_schema": SCHEMA}],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "stop_sequences": ["x"],
    "metadata": {"user_id": "u"},
    "stream": False,
}
SPEECH: dict[str, Any] = {
    "model_id": "sonic-3",
    "transcript": "Hi.",
    "voice": VOICE,
    "output_format": RAW,
    "language": "en",
    "context_id": "c",
    "continue": False,
    "add_timestamps": True,
    "max_buffer_delay_ms": 0,
}
CONFIGURE: dict[str, Any] = {
    "type": "Configure",
    "thresholds": {"eot_threshold": 0.8, "eager_eot_threshold": 0.5, "eot_timeout_ms": 900},
    "keyterms": ["x"],
}


def deep(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


EVIL: list[Any] = [
    None, True, False, 0, -1, 1, 10**9, 10**18, -(10**18), 10**400, 0.5, 1e308, -0.0, "", " ", "x",
    "\ud800", "\udfff x", "\x00", "\u202e", "é" * 300, "x" * 70_000, "1", "true", [], {}, [[]],
    [None], [1], ["x"], [{}], [0] * 3000, {"type": "x"}, {"type": []}, {"": ""}, {"x": "\ud800"},
    {"type": "text"}, {"type": "function"}, {"$ref": "#"}, {"anyOf": [{"$ref": "#"}] * 9},
    {f"k{i}": i for i in range(3000)}, deep(60), deep(300), {"a": {"b": {"c": deep(100)}}},
    {"role": "user"}, {"type": "array", "minItems": 10**9, "items": {"type": "array"}},
]  # fmt: skip
"""Values of every type and of every unpleasant size."""

BYTES: list[bytes] = [
    b"", b"{", b"[", b"null", b"[]", b'"x"', b"NaN", b"1e999", b"\xff\xfe", b'{"model": "\xff"}',
    b'{"a":' * 50_000, b"[" * 300_000, b"[" + b"{}," * 200_000 + b"{}]", b'{"model": "\\ud800"}',
    b"[" + b"1," * 900_000 + b"1]", '{"model": "gpt-4o"}'.encode("utf-16"), b"\x1f\x8b\x08junk",
    b"-" * 1000, b"9" * 10_000, b'{"model": ' + b"9" * 5000 + b"}", b"\x00" * 1000,
    b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"'
    + b"word " * 1_200_000 + b'"}]}',
    b'{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role":"user","content":"'
    + b"word " * 1_200_000 + b'"}]}',
    b'{"model":"gpt-4o-mini","messages":[' + b'{"role":"user","content":"x"},' * 40_000 + b"1]}",
    b'{"model":"claude-haiku-4-5","max_tokens":9,"messages":['
    + b'{"role":"user","content":"x"},' * 4_000 + b'{"role":"user","content":"x"}]}',
    b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x",'
    + b",".join(b'"k%d":1' % i for i in range(100_000)) + b"}]}",
]  # fmt: skip
"""Bodies that are no JSON, hardly JSON, or too much of it."""


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a body at which something can be put instead."""
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*at, key))
    if isinstance(value, list):
        for i, inner in enumerate(value):
            yield from places(inner, (*at, i))


def mutated(body: Any, rng: random.Random) -> Any:
    """A body with one or two things replaced, left out, repeated or added."""
    body = copy.deepcopy(body)
    for _ in range(rng.choice((1, 1, 1, 2))):
        at = rng.choice([p for p in places(body) if p] or [()])
        if not at:
            return copy.deepcopy(rng.choice(EVIL))
        parent = body
        for step in at[:-1]:
            parent = parent[step]
        kind = rng.random()
        if kind < 0.75:
            parent[at[-1]] = copy.deepcopy(rng.choice(EVIL))
        elif kind < 0.85:
            del parent[at[-1]]
        elif isinstance(parent, list):
            parent.insert(0, copy.deepcopy(parent[at[-1]]))
        else:
            name = rng.choice(("zzz", "type", "", "\ud800", "x" * 3000))
            parent[name] = copy.deepcopy(rng.choice(EVIL))
    return body


def encoded(body: Any, rng: random.Random) -> bytes:
    """A body as bytes, now and then in a wrong encoding or cut short."""
    text = json.dumps(body, ensure_ascii=rng.random() < 0.9)
    kind = rng.random()
    if kind < 0.02:
        return text.encode("utf-16", "surrogatepass")
    data = text.encode("utf-8", "surrogatepass")
    return data[: rng.randrange(len(data) + 1)] if kind < 0.05 else data
