"""A socket whose service divides what it hears into turns."""

from __future__ import annotations

from aiohttp import web

from labkit.providers.hearing import HeardWord, Hearing
from labkit.providers.stt import Listening, STTEmulator


class TurnListening(Listening):
    """One open WebSocket that hears turns; a provider decides when one is over.

    The words of the present turn are ``_words``, and ``_turn`` says how many are over.
    """

    hearing: Hearing

    def __init__(
        self,
        service: STTEmulator,
        ws: web.WebSocketResponse,
        request_id: str,
        model: str,
        rate_hz: int,
    ) -> None:
        super().__init__(service, ws, request_id, model)
        self.hearing = service.hearing(rate_hz)
        self._words: list[HeardWord] = []
        self._turn = 0

    def audio(self, data: bytes) -> None:
        hearing = self.hearing
        hearing.feed(self.whole(data))
        self.fed()
        if new := hearing.take():
            starting = not self._words
            self._words += new
            self.heard(starting)
        if self._words and hearing.silence_s > 0:
            self.judge(hearing.silence_s)
        self.passed()

    def fed(self) -> None:
        """Called when audio has been heard, before its words are taken."""

    def heard(self, starting: bool) -> None:
        """Called when there are new words; ``starting`` if they are the first of the turn."""

    def judge(self, silence_s: float) -> None:
        """Decides whether the silence after the words so far ends the turn."""
        raise NotImplementedError

    def passed(self) -> None:
        """Called when all that the audio so far calls for has been said."""

    def take_rest(self) -> bool:
        """Takes the words that no more audio will complete; whether the turn has any words."""
        self.hearing.finish()
        self._words += self.hearing.take()
        return bool(self._words)

    def next_turn(self) -> None:
        """The turn is over."""
        self._turn += 1
        self._words = []
