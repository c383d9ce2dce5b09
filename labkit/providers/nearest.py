"""The model that stands in for one without figures."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from labkit.providers.server import Emulator, shown
from labkit.world.events import Assumed


def nearest(
    service: Emulator, asked: str, known: Sequence[str], usual: str = "", whose: str = ""
) -> str:
    """The model whose figures one without its own is given; the service tells which.

    Args:
        service: Who is asked.
        asked: The model's name, as the client gives it.
        known: Models that may stand in.
        usual: The one that does if ``known`` is empty.
        whose: Said behind the model's name.
    """
    found = next(iter(difflib.get_close_matches(asked[-200:], known, n=1, cutoff=0.0)), usual)
    text = f"{shown(asked)}{whose} has no figures of its own here: it has {found}'s"
    service.log(Assumed(text=text))
    return found
