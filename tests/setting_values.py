"""Values for every setting, from its own row of the table."""

from __future__ import annotations

from hypothesis import strategies as st

from labkit.settings import SETTINGS, Setting, Value
from labkit.tunnel.given import FILES

OPEN_TEXTS = ["", "order_status", "nova-2", "a b", "x=y", "ünï", "Default setting"]


NAME_FILES = ("profile", *FILES)
"""Settings that name a file, which must be there."""


def others(setting: Setting) -> list[Value]:
    """Values that are each valid and not the default; none where there is but one."""
    if setting.kind == "flag":
        return [v for v in (True, False) if v != setting.default]
    if setting.kind == "text":
        choices = setting.choices or ("order_status", "nova-2")
        return [v for v in choices if v != setting.default]
    low = setting.low if setting.low is not None else -1.0
    high = setting.high if setting.high is not None else low + 1.0
    tried = [low, high, (low + high) / 2, low + (high - low) / 4]
    return [float(v) for v in tried if v != setting.default]


def values(setting: Setting) -> st.SearchStrategy[Value]:
    """Anything that the setting can be given, the default included."""
    if setting.kind == "flag":
        return st.booleans()
    if setting.kind == "text":
        return st.sampled_from(setting.choices or OPEN_TEXTS)
    return st.floats(setting.low, setting.high, allow_nan=False, allow_infinity=False)


def changes() -> st.SearchStrategy[dict[str, Value]]:
    """Some settings and their values."""
    names = sorted(set(SETTINGS) - set(NAME_FILES))
    pairs = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), values(SETTINGS[name]))
    )
    return st.lists(pairs, max_size=8).map(dict)
