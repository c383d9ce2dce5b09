"""Checks of a chat request that depend on its model, or on several of its fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.providers.openai.prompt import Prompt
from labkit.providers.openai.refusals import named, refused
from labkit.providers.openai.requests import ChatBody
from labkit.providers.schemas import unsound

_UNTIL_REASONING_ENDS = ("logprobs", "presence_penalty", "frequency_penalty")
_NEVER_WITH_REASONING = ("stop", "logit_bias", "prediction")


def check(
    body: ChatBody,
    prompt: Prompt,
    model: str,
    figure: Callable[..., Any],
    *,
    chat: bool = True,
) -> None:
    """Checks what depends on the model.

    Args:
        body: The request.
        prompt: What :func:`parse` made of it.
        model: Its name in the profile.
        figure: Gives a figure of the model by name, or the default given after it.
        chat: Whether it was asked for on the chat endpoint itself.

    Raises:
        RequestError: the service would answer 400.
    """
    newer = figure("cache") == "breakpoint"
    if prompt.breakpoints and not newer:
        name = "messages[0].content[0].prompt_cache_breakpoint"
        raise refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    if body.get("prompt_cache_options") and not newer:
        name = "prompt_cache_options"
        raise refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    reasons = bool(figure("reasoning", False))
    effort = body.get("reasoning_effort")
    if reasons:
        usual, allowed = figure("effort", "medium"), str(figure("efforts", "")).split()
        if effort is not None and allowed and effort not in allowed:
            text = (
                f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this "
                f"model. Supported values are: {named(allowed)}."
            )
            raise refused(text, "reasoning_effort", "unsupported_value")
        _check_reasoning(body, effort or usual, "none" in allowed)
    elif effort is not None:
        raise refused("Unrecognized request argument supplied: reasoning_effort")
    if chat and effort and prompt.tools and figure("refuses_effort_with_tools", False):
        text = (
            f"Function tools with reasoning_effort are not supported for {model} in "
            "/v1/chat/completions. Please use /v1/responses instead."
        )
        raise refused(text, "reasoning_effort")
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        text = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        raise refused(text, "top_logprobs")
    if body.get("tool_choice") not in (None, "none") and not prompt.tools:
        text = (
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are "
            "specified."
        )
        raise refused(text, "tool_choice")
    _check_format(body, prompt)
    check_length(body, prompt.token_count, prompt.tool_tokens, figure)


def _check_reasoning(body: ChatBody, effort: str, free_at_none: bool) -> None:
    """Refuses what a model that reasons does not accept.

    Args:
        body: The request.
        effort: Its reasoning effort, or the model's own.
        free_at_none: Whether the model samples as told when it does not reason.
    """
    given: dict[str, Any] = {**body}
    wrong = [name for name in _NEVER_WITH_REASONING if given.get(name) is not None]
    if effort not in ("none", "minimal"):
        wrong += [name for name in _UNTIL_REASONING_ENDS if given.get(name)]
    hint = ""
    if given.get("max_tokens") is not None:
        wrong, hint = ["max_tokens"], " Use 'max_completion_tokens' instead."
    if not (free_at_none and effort == "none"):
        for name in ("temperature", "top_p"):
            if given.get(name) not in (None, 1):
                text = (
                    f"Unsupported value: '{name}' does not support {given[name]:g} with this "
                    "model. Only the default (1) value is supported."
                )
                raise refused(text, name, "unsupported_value")
    for name in wrong:
        text = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
        raise refused(text, name, "unsupported_parameter")


def _check_format(body: ChatBody, prompt: Prompt) -> None:
    """Refuses a format of the answer that lacks what it needs."""
    form = body.get("response_format")
    if not form:
        return
    if form["type"] == "json_schema":
        named_schema = form.get("json_schema")
        if named_schema is None:
            name = "response_format.json_schema"
            text = f"Missing required parameter: '{name}'."
            raise refused(text, name, "missing_required_parameter")
        schema = named_schema.get("schema")
        why = None if schema is None else unsound(schema)
        if why is None and (schema or {}).get("type", "object") != "object":
            kind = (schema or {})["type"]
            why = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'"
        if why is not None:
            text = f"Invalid schema for response_format '{named_schema['name']}': {why}."
            raise refused(text, "response_format")
    if form["type"] == "json_object":
        if not any("json" in m.text.lower() for m in prompt.messages):
            text = (
                "'messages' must contain the word 'json' in some form, to use 'response_format' "
                "of type 'json_object'."
            )
            raise refused(text, "messages")


def check_length(
    body: ChatBody, prompt_tokens: int, tool_tokens: int, figure: Callable[..., Any]
) -> None:
    """Refuses a prompt or an answer that is too long for the model.

    Raises:
        RequestError: it is.
    """
    most, longest = int(figure("context_tokens")), int(figure("max_output_tokens"))
    for name in ("max_completion_tokens", "max_tokens"):
        asked = body.get(name)
        if isinstance(asked, int) and asked > longest:
            text = (
                f"{name} is too large: {asked}. This model supports at most {longest} completion "
                f"tokens, whereas you provided {asked}."
            )
            raise refused(text, name, "invalid_value")
    if prompt_tokens <= most:
        return
    counted, what = f"{prompt_tokens} tokens", "messages"
    if tool_tokens:
        counted += (
            f" ({prompt_tokens - tool_tokens} in the messages, {tool_tokens} in the functions)"
        )
        what = "messages or functions"
    text = (
        f"This model's maximum context length is {most} tokens. However, your messages resulted "
        f"in {counted}. Please reduce the length of the {what}."
    )
    raise refused(text, "messages", "context_length_exceeded")
