"""Texts in a form in which a transcript and a script can be compared.

An STT may write "4571" for "four five seven one", drop a comma or keep an "um"; none of that
changes what was said.
"""

from __future__ import annotations

from functools import lru_cache

from labkit.world.turn import normalise

FILLERS = frozenset(("um", "uh", "er", "erm", "hm", "hmm", "mhm", "ah"))

_BELOW_20 = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_BY_TEN = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS = {word: str(n) for n, word in enumerate(_BELOW_20.split())} | {"oh": "0"}
_TENS = {word: n * 10 for n, word in enumerate(_BY_TEN.split(), start=2)}


def _numbers(words: list[str]) -> list[str]:
    """Number words as digits, those said one after another joined: "four five" is "45"."""
    out: list[str] = []
    joined = False
    i = 0
    while i < len(words):
        word = words[i]
        if word in _TENS:
            unit = _UNITS.get(words[i + 1], "") if i + 1 < len(words) else ""
            has_unit = len(unit) == 1 and unit != "0"
            digits = str(_TENS[word] + (int(unit) if has_unit else 0))
            i += has_unit
        elif word == "oh" and not joined:  # "oh wait" is no zero
            digits = ""
        else:
            digits = word if word.isdecimal() else _UNITS.get(word, "")
        if digits and joined:
            out[-1] += digits
        else:
            out.append(digits or word)
        joined = bool(digits)
        i += 1
    return out


def canonical(text: str) -> tuple[str, ...]:
    """The words that matter: lower case, without fillers, number words as digits."""
    return _remembered(text) if len(text) <= _LONG else _canonical(text)


def _canonical(text: str) -> tuple[str, ...]:
    return tuple(_numbers([w for w in normalise(text).split() if w not in FILLERS]))


_LONG = 500  # characters; longer texts are rare, and would fill the memory
_remembered = lru_cache(maxsize=1 << 13)(_canonical)


def contains(words: tuple[str, ...], part: tuple[str, ...]) -> bool:
    """Whether ``part`` stands in ``words`` without a gap."""
    return bool(part) and f" {' '.join(part)} " in f" {' '.join(words)} "


def stem(word: str) -> str:
    """A word without a plural or verb "s", so that "orders" meets "order"."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
