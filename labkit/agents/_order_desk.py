"""A small back end for the tool prefetch agent, and a guess at which of its tools comes next.

Stands in for a customer's order system: look-ups by number that take a while. The guess is a naive
Bayes classifier over a few example sentences; its confidence is the posterior probability.
"""

import asyncio
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

RECORDS: dict[str, dict[str, Any]] = {
    "4571": {"order_id": "4571", "status": "shipped", "left": "Monday", "due": "Thursday"},
    "4572": {"order_id": "4572", "status": "delivered", "day": "Tuesday",
             "left_with": "neighbor at number twelve"},
    "SP140299": {"tracking": "SP140299", "status": "missed delivery", "depot": "Harbor Street",
                 "kept_until": "Saturday"},
}  # fmt: skip

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

EXAMPLES = {
    "lookup_order": [
        "My order number is 4 5 7 1.", "That would be 1 2 3 4.", "Order 8 8 0 1, please.",
        "I got that wrong, it's 4 5 7 9.", "Actually the order is 6 0 0 2.",
        "Sorry, I mean 1 1 4 7.", "Where is my order now?", "Has it been delivered?",
        "Who was it left with?", "Did the driver leave my order somewhere?",
    ],
    "track_parcel": [
        "The tracking number is S P 1 2 3 4 5 6.", "It's S P 8 8 0 0 1 1.", "S P 7 7 3 0 0 1.",
        "Can you track my parcel?", "Where is the parcel?",
    ],
    "": [
        "Hello, I have a question.", "My order never came.", "Something of mine hasn't turned up.",
        "Okay.", "Thanks.", "Got it.", "Yes, please.", "When are you open?", "Open how late?",
        "Can I send something back?", "How do returns work?", "I want to cancel it.",
        "Please cancel everything I ordered.", "I was at home.", "Nobody rang.",
        "Please bring it back on Friday.", "Try again on Tuesday.", "What does shipping cost?",
        "What was the number again?", "Bye.",
    ],
}  # fmt: skip
"""What callers say before each tool; nothing is looked up after the last group."""


class Backend:
    """Finds records by number after ``delay_s`` seconds and counts how often it was asked."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s, self.n_calls = delay_s, 0

    async def find(self, number: str) -> dict[str, Any]:
        """The record; ``number`` may be any text that holds its number."""
        self.n_calls += 1
        await asyncio.sleep(self.delay_s)
        found = numbers(number)
        return RECORDS.get(found[0] if found else number, {"error": f"nothing under {number}"})

    async def write(self, **booking: Any) -> dict[str, Any]:
        """Books something. Never to be called on a guess."""
        self.n_calls += 1
        await asyncio.sleep(self.delay_s)
        return booking


@dataclass(frozen=True)
class Guess:
    """The tool that is likely to be called next, its number, and how likely it is (0 to 1)."""

    tool: str
    number: str
    confidence: float


def numbers(text: str) -> list[str]:
    """The complete order and tracking numbers in a text, spoken or written: ``["4571"]``."""
    joined, times = "", 1
    for word in re.findall(r"[a-z]+|\d+", text.lower()):
        if word == "double":
            times = 2
            continue
        spoken = str(DIGITS.index(word)) if word in DIGITS else word
        single = spoken.isdigit() or len(word) == 1 or word == "sp"
        joined += spoken * times if single else " "
        times = 1
    return re.findall(r"(?<!\w)(?:SP\d{6}|\d{4})(?!\w)", joined.upper())


def _features(text: str) -> list[str]:
    words = re.findall(r"[a-z]+|\d+", text.lower().replace("'", ""))
    return ["#" if w in DIGITS or w.isdigit() else w for w in words]


class Guesser:
    """Naive Bayes over the words of :data:`EXAMPLES`; remembers the last number of each tool."""

    def __init__(self) -> None:
        self._words = {t: Counter(w for s in e for w in _features(s)) for t, e in EXAMPLES.items()}
        self._vocabulary = len({w for c in self._words.values() for w in c})
        self._known: dict[str, str] = {}

    def __call__(self, text: str) -> Guess | None:
        """The likeliest tool for a caller's words; None if none, or its number is not known."""
        scores = {tool: self._score(tool, set(_features(text))) for tool in EXAMPLES}
        top = max(scores.values())
        weights = {tool: math.exp(score - top) for tool, score in scores.items()}
        tool = max((t for t in weights if t), key=weights.__getitem__)
        found = [n for n in numbers(text) if n.startswith("SP") == (tool == "track_parcel")]
        if found:
            self._known[tool] = found[0]
        if tool not in self._known:
            return None
        return Guess(tool, self._known[tool], weights[tool] / sum(weights.values()))

    def _score(self, tool: str, words: set[str]) -> float:
        seen = self._words[tool]
        score = math.log(len(EXAMPLES[tool]) / sum(map(len, EXAMPLES.values())))
        for word in words:
            score += math.log((seen[word] + 1) / (seen.total() + self._vocabulary))
        return score
