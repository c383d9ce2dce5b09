"""Whatever arrives, a parser gives a value or the provider's own refusal, and nothing else."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hostile import BYTES, CHAT, CONFIGURE, EMBEDDINGS, MESSAGES, SPEECH, encoded, mutated
from hypothesis import given, settings
from hypothesis import strategies as some

from labkit.providers.answers import answer
from labkit.providers.anthropic.prompt import check as check_messages
from labkit.providers.anthropic.prompt import parse as parse_messages
from labkit.providers.anthropic.prompt import scaled
from labkit.providers.anthropic.requests import MESSAGES as MESSAGES_SCHEMA
from labkit.providers.anthropic.requests import not_json, page_size
from labkit.providers.anthropic.requests import refusal_of as anthropic_refusal
from labkit.providers.bodies import NotJson, checked, decoded
from labkit.providers.cartesia.requests import parse as parse_speech
from labkit.providers.cartesia.requests import read as read_speech
from labkit.providers.conversation import Message
from labkit.providers.deepgram.requests import FluxQuery, ListenQuery, configured
from labkit.providers.openai.checks import check as check_chat
from labkit.providers.openai.prompt import parse as parse_chat
from labkit.providers.openai.refusals import refusal_of as openai_refusal
from labkit.providers.openai.requests import CHAT as CHAT_SCHEMA
from labkit.providers.openai.requests import EMBEDDINGS as EMBEDDINGS_SCHEMA
from labkit.providers.profile import Profile, load_profiles
from labkit.providers.recording import first_channel, read_wav
from labkit.providers.schemas import instance, unsound
from labkit.providers.server import RequestError
from labkit.providers.tool_calls import Tool

PROFILES = load_profiles()
VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(),
    lambda inner: (
        some.lists(inner, max_size=4)
        | some.dictionaries(
            some.sampled_from(["type", "role", "content", "text", "x", "properties", "anyOf"])
            | some.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
MANY = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def figure(name: str, default: Any = None) -> Any:
    return {"cache": "prefix", "context_tokens": 128_000, "max_output_tokens": 16_384}.get(
        name, default
    )


def chat(body: Any) -> None:
    request = checked(CHAT_SCHEMA, body, openai_refusal)
    prompt = parse_chat(request)
    check_chat(request, prompt, "gpt-4o-mini", figure)
    answer(prompt.messages, prompt.tools, parallel=True)
    form = request.get("response_format")
    named = form.get("json_schema") if form else None
    if named:
        instance(named.get("schema") or {}, "x")


def messages(body: Any) -> None:
    request = checked(MESSAGES_SCHEMA, body, anthropic_refusal, tagged=True)
    prompt = parse_messages(request, scaled(1.16), 346)
    check_messages(request, request["model"], 64_000)
    answer(prompt.messages, prompt.tools, parallel=True)


def embeddings(body: Any) -> None:
    checked(EMBEDDINGS_SCHEMA, body, openai_refusal)


def speech(body: Any) -> None:
    if isinstance(body, dict):
        parse_speech(body, PROFILES["cartesia"], streaming=True)


def configure(body: Any) -> None:
    if isinstance(body, dict):
        FluxQuery().change({**configured(body).get("thresholds", {})})


PARSERS = [
    (chat, CHAT),
    (messages, MESSAGES),
    (embeddings, EMBEDDINGS),
    (speech, SPEECH),
    (configure, CONFIGURE),
]


def refused(error: RequestError) -> None:
    """A refusal is one the service could give: short, and such as JSON can carry."""
    assert error.status in (400, 404)
    assert 0 < len(error.message) < 2000
    error.message.encode()


@pytest.mark.parametrize(("parse", "valid"), PARSERS, ids=lambda p: getattr(p, "__name__", ""))
def test_the_request_that_is_changed_below_is_itself_accepted(parse: Any, valid: Any) -> None:
    parse(dict(valid))


@pytest.mark.parametrize(("parse", "valid"), PARSERS, ids=lambda p: getattr(p, "__name__", ""))
@MANY
@given(seed=some.integers(0, 2**32))
def test_a_request_with_something_wrong_in_it(parse: Any, valid: Any, seed: int) -> None:
    rng = random.Random(seed)
    try:
        body = decoded(encoded(mutated(valid, rng), rng))
        parse(body)
    except NotJson:
        pass
    except RequestError as error:
        refused(error)


@pytest.mark.parametrize(("parse", "valid"), PARSERS, ids=lambda p: getattr(p, "__name__", ""))
@MANY
@given(data=some.data())
def test_any_value_in_any_field(parse: Any, valid: Any, data: Any) -> None:
    body = {**valid, data.draw(some.sampled_from(sorted(valid))): data.draw(VALUES)}
    try:
        parse(body)
    except RequestError as error:
        refused(error)


@MANY
@given(some.binary(max_size=200) | some.sampled_from(BYTES))
def test_any_bytes(raw: bytes) -> None:
    try:
        decoded(raw)
    except NotJson as error:
        refused(not_json(error))
    try:
        read_speech(raw)
    except RequestError as error:
        refused(error)
    try:
        rate_hz, channels, pcm = read_wav(b"RIFF" + raw)
        assert rate_hz and len(first_channel(pcm, channels)) % 2 == 0
    except ValueError:
        pass


_NAMES = """model encoding sample_rate channels endpointing utterance_end_ms interim_results
    eot_threshold eager_eot_threshold eot_timeout_ms vad_events"""
NAMES = some.sampled_from(_NAMES.split())
TEXTS = some.text() | some.integers().map(str) | some.floats().map(str) | some.just("9" * 6000)


@MANY
@given(some.dictionaries(NAMES, TEXTS | some.sampled_from(["linear16", "true", "nova-3"])))
def test_any_query(query: dict[str, str]) -> None:
    for parse in (ListenQuery.parse, lambda q: FluxQuery.parse(q, [])):
        try:
            parse(query)
        except RequestError as error:
            refused(error)


@MANY
@given(some.text())
def test_any_limit_of_a_list(text: str) -> None:
    try:
        assert 1 <= page_size(text) <= 1000
    except RequestError as error:
        refused(error)


@MANY
@given(VALUES, some.text())
def test_a_sound_schema_has_an_instance_and_can_be_called(schema: Any, text: str) -> None:
    if unsound(schema) is None:
        instance(schema, text)
        if isinstance(schema, dict):
            tool = Tool("find_it", "Finds it.", schema)
            said = [Message("user", f"find it in {text}")]
            answer(said, [tool], tool_choice="required", parallel=True)


def test_an_instance_stays_small_however_its_schema_multiplies() -> None:
    schema: Any = {"type": "string"}
    for _ in range(10):
        schema = {"type": "array", "minItems": 10**6, "items": schema}
    assert len(str(instance(schema, "x"))) < 100_000
    wide: Any = {"type": "integer"}
    for _ in range(8):
        wide = {"type": "object", "properties": {str(i): wide for i in range(20)}}
    assert len(str(instance(wide, "x"))) < 1_000_000


def test_profiles_say_how_long_prompts_and_answers_may_be(profiles: dict[str, Profile]) -> None:
    for name in ("openai", "anthropic"):
        for model in profiles[name].names("models"):
            if "first_token" in profiles[name].table["models"][model]:
                longest = profiles[name].value("models", model, "max_output_tokens")
                assert 1 < longest <= profiles[name].value("models", model, "context_tokens")
