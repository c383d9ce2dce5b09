"""Executor jobs in virtual time: which run inline, and what each is charged."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labkit.settings import Settings


@dataclass(frozen=True)
class JobRule:
    """How an executor job of one kind is treated in virtual time.

    Attributes:
        cost_s: Seconds charged to the virtual clock for one job.
        memo: Where results are remembered by a hash of the arguments; None to compute every time.
            Only for pure functions.
        thread: Run in a real thread that takes turns with the loop, for jobs that wait on it.
        shares: Lets the job wait, as its turn ends, on a condition made from a lock of its own.
    """

    cost_s: float = 0.0
    memo: Any = None
    thread: bool = False
    shares: Callable[[Callable[..., Any], Callable[[Any], threading.Condition]], None] | None = None


def rules(settings: Settings, memo: Any) -> Callable[[Callable[..., Any]], JobRule]:
    """How the jobs of a call are treated: the SDK's models cost what was measured.

    Args:
        settings: The measured costs, under ``compute``.
        memo: Where the answers of the end-of-turn model are remembered.
    """
    from labkit.tunnel import sdk

    vad = JobRule(cost_s=settings.number("compute.vad_window_s"))
    eot = JobRule(cost_s=settings.number("compute.eot_s"), memo=memo)
    embed = JobRule(cost_s=settings.number("compute.embed_s"))
    thread, plain = JobRule(thread=True, shares=sdk.shares_its_buffer), JobRule()

    known: dict[Any, JobRule] = {}

    def rule_for(func: Callable[..., Any]) -> JobRule:
        # audio decoders wait for more bytes from the loop, so they need a thread of their own
        if getattr(func, "__name__", "") == sdk.DECODER_JOB:
            return thread
        owner = type(getattr(func, "__self__", func))  # a method's object, or a callable one
        if owner in known:
            return known[owner]
        rule = plain
        if owner.__module__.startswith("livekit.local_inference"):
            rule = eot if owner.__name__ == "EOT" else vad
        elif owner.__module__.startswith("onnxruntime"):
            rule = embed
        elif owner.__module__.startswith("livekit.plugins.silero"):
            rule = vad
        return known.setdefault(owner, rule)

    return rule_for


def plain_call(
    func: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function behind ``asyncio.to_thread``, which wraps it in ``Context.run``."""
    if isinstance(func, functools.partial) and not args and func.args:
        if getattr(func.func, "__name__", "") == "run":
            return func.args[0], func.args[1:]
    return func, args


def remembered(memo: Any, func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """What a pure function answers, from memory if it was asked before."""
    digest = hashlib.blake2b(digest_size=16)
    for arg in args:
        digest.update(memoryview(arg).cast("B"))
    key = digest.hexdigest()
    if key not in memo:
        memo[key] = func(*args)
    return memo[key]
