"""Rate limits: what an API key may use per minute, refilled continuously.

A request is admitted if every allowance covers it, and only then is anything taken: a refused
request takes nothing, and no request can take more than there is.
"""

from __future__ import annotations

from collections.abc import Mapping


class Bucket:
    """A per-minute allowance that refills continuously."""

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._level = per_minute
        self._at_s = 0.0

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until ``amount`` is there; infinite if it exceeds the whole allowance."""
        gained = max(now_s - self._at_s, 0.0) * self.per_minute / 60
        self._level = min(self.per_minute, self._level + gained)
        self._at_s = now_s
        if amount > self.per_minute:
            return float("inf")
        short = amount - self._level
        return short * 60 / self.per_minute if short > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        """Takes ``amount``, which :meth:`wait_s` has found to be there."""
        self._level = max(self._level - amount, 0.0)

    def give(self, amount: float) -> None:
        """Puts back what was taken in excess."""
        self._level = min(self._level + max(amount, 0.0), self.per_minute)

    def remaining(self) -> int:
        """What is left now."""
        return int(self._level)

    def full_in_s(self) -> float:
        """Seconds until nothing is taken any more."""
        return (self.per_minute - self._level) * 60 / self.per_minute if self.per_minute else 0.0


def admitted(charges: Mapping[str, tuple[Bucket, float]], now_s: float) -> tuple[str, float] | None:
    """Takes each amount from its bucket, or nothing at all.

    Args:
        charges: Bucket and amount, by the allowance's name.
        now_s: Loop time, seconds.

    Returns:
        ``None`` if all was there; else the first short allowance and the wait for it, seconds.
    """
    waits = {name: bucket.wait_s(amount, now_s) for name, (bucket, amount) in charges.items()}
    for name, wait_s in waits.items():
        if wait_s > 0:
            return name, wait_s
    for bucket, amount in charges.values():
        bucket.take(amount)
    return None
