"""What an API key may ask for per minute, and the headers that say how much of it is left."""

from __future__ import annotations

import asyncio

from labkit.providers.allowance import Bucket, admitted
from labkit.providers.llm import ChatEmulator
from labkit.providers.openai.refusals import span_text
from labkit.providers.server import RequestError


def taken(service: ChatEmulator, key: str, model: str, weight: int) -> dict[str, str]:
    """Takes a request from the minute's allowance; gives the headers that say so.

    Args:
        service: Where it was asked.
        key: The API key.
        model: The model's name in the profile.
        weight: Tokens of the prompt, and of the longest answer if it was limited.

    Raises:
        RequestError: the allowance is short.
    """
    now_s = asyncio.get_running_loop().time()
    charges: dict[str, tuple[Bucket, float]] = {
        "requests": (service.bucket("rpm", key, model), 1),
        "tokens": (service.bucket("tpm", key, model), weight),
    }
    short = admitted(charges, now_s)
    headers = {"openai-version": "2020-10-01"}
    for name, (bucket, _) in charges.items():
        headers[f"x-ratelimit-limit-{name}"] = str(int(bucket.per_minute))
        headers[f"x-ratelimit-remaining-{name}"] = str(bucket.remaining())
        headers[f"x-ratelimit-reset-{name}"] = span_text(bucket.full_in_s())
    if short is None:
        return headers
    name, wait_s = short
    bucket, amount = charges[name]
    limit, unit = int(bucket.per_minute), "RPM" if name == "requests" else "TPM"
    if wait_s == float("inf"):
        text = (
            f"Request too large for {model} on {name} per min ({unit}): Limit {limit}, "
            f"Requested {amount:.0f}. The input or output tokens must be reduced in order to "
            "run successfully."
        )
        raise RequestError(429, text, "rate_limit_exceeded", headers=headers, type=name)
    text = (
        f"Rate limit reached for {model} on {name} per min ({unit}): Limit {limit}, "
        f"Used {limit - bucket.remaining()}, Requested {amount:.0f}. "
        f"Please try again in {span_text(wait_s)}. "
    )
    text += "Visit https://platform.openai.com/account/rate-limits to learn more."
    headers["retry-after"] = str(max(1, round(wait_s)))
    headers["retry-after-ms"] = str(max(1, round(wait_s * 1000)))
    raise RequestError(429, text, "rate_limit_exceeded", headers=headers, type=name)
