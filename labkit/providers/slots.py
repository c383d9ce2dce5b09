"""How many connections or requests each API key may have open at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Slots:
    """Counts what each API key holds open, up to a limit."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def take(self, key: str, limit: int) -> Callable[[], None] | None:
        """Takes one slot.

        Args:
            key: Whose slot.
            limit: How many that key may hold at once.

        Returns:
            A function that gives the slot back (calling it twice is harmless), or ``None`` if all
            are taken.
        """
        taken = self._open
        if taken[key] >= limit:
            return None
        taken[key] += 1
        held = True

        def release() -> None:
            nonlocal held
            if held:
                taken[key] -= 1
                if taken[key] <= 0:
                    del taken[key]
            held = False

        return release

    def held(self, key: str) -> int:
        """How many slots ``key`` holds now."""
        return self._open[key]

    def reset(self) -> None:
        """Forgets everything; slots taken before are no longer counted when given back."""
        self._open = Counter()
