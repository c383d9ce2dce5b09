"""Whether a turn looks over: from how long it has been silent, and from the last word heard.

It never looks at words still to come, so it takes some hesitations for ends, as the true services
do.
"""

from __future__ import annotations

import math

from labkit.providers.profile import Profile
from labkit.randomness import Delay

FILLERS = frozenset(("uh", "um", "mhmm", "mm-mm", "uh-uh", "uh-huh", "nuh-uh"))
# Words that hardly ever end an English sentence, and so ask for more.
_OPEN_WORDS = frozenset(
    """
    a an the my your his her its our their this that these those of to in on at by for from with
    about into and or but so because if when while than as is are was were be been am i we they he
    she it's i'm i'd i'll can could will would should do does did have has had not very really like
    uh um er erm hmm well
    """.split()  # noqa: SIM905
)


def bare(text: str) -> str:
    """A word without capitals and punctuation at its ends."""
    return text.strip(".,?!;:\"'()…–—-").lower() or text.lower()


def _logit(p: float) -> float:
    return math.inf if p >= 1 else -math.inf if p <= 0 else math.log(p / (1 - p))


class TurnEnd:
    """The model of end-of-turn confidence.

    In every pause the confidence passes a reference after a wait drawn from one of three
    distributions, chosen by the last word heard: one that closes a sentence, one that asks for more
    (a filler, a comma, a function word), or neither. Around that point the confidence is a logistic
    function of the silence, flatter the longer the wait, so that lower thresholds are passed
    earlier.
    """

    def __init__(
        self, profile: Profile, model: str, reference: float = 0.7, lower: float = 0.4
    ) -> None:
        """Makes the model.

        Args:
            profile: The provider's.
            model: Its table ``turn_end`` holds the figures.
            reference: The threshold for which the waits are given (0 to 1).
            lower: The threshold that is passed the eager gain before the reference.
        """
        self._reference, self._span = _logit(reference), _logit(reference) - _logit(lower)
        at = ("models", model, "turn_end")
        self._waits = {
            kind: profile.delay(*at, kind) for kind in ("complete", "neutral", "incomplete")
        }
        self._gain_s = float(profile.value(*at, "eager_gain_s"))
        self._gain_slope = float(profile.value(*at, "eager_gain_slope"))

    @staticmethod
    def kind(text: str) -> str:
        """How the words look when the last one is ``text``."""
        word = bare(text)
        if word in FILLERS or text.endswith((",", "-", "–", "—", "…", "...")):
            return "incomplete"
        if text.endswith((".", "?", "!")):
            return "complete"
        return "incomplete" if word in _OPEN_WORDS else "neutral"

    def delay(self, text: str) -> Delay:
        """The wait until the reference is passed when ``text`` was the last word."""
        return self._waits[self.kind(text)]

    def _steepness(self, wait_s: float) -> float:
        gain_s = self._gain_s + self._gain_slope * wait_s
        return self._span / gain_s

    def confidence(self, silence_s: float, wait_s: float) -> float:
        """The confidence after ``silence_s`` of silence."""
        x = self._reference + self._steepness(wait_s) * (silence_s - wait_s)
        return 1 / (1 + math.exp(-max(min(x, 50.0), -50.0)))

    def crossing_s(self, threshold: float, wait_s: float) -> float:
        """The silence after which the confidence reaches ``threshold``; at least 0, maybe inf."""
        ahead = (_logit(threshold) - self._reference) / self._steepness(wait_s)
        return max(wait_s + ahead, 0.0)
