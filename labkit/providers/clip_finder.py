"""Recognising clips of the speech corpus from outside clients, which no caller's track describes.

A client that plays a clip of the corpus bit for bit is understood; any other sound has no words.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable

from labkit.providers.clip_index import NEEDLE, SoundIndex
from labkit.world.clips import Clip
from labkit.world.scene import SAMPLE_RATE_HZ, CallerTrack, SpokenWord

_NEEDLE = 2 * NEEDLE  # bytes: 10 ms are enough to tell clips apart
_GAP = bytes(2 * SAMPLE_RATE_HZ)  # around every clip on a track


class ClipFinder:
    """Finds audio among clips; the clips are loaded when first needed."""

    def __init__(self, clips: Callable[[], Iterable[Clip]]) -> None:
        self._load = clips
        self._clips: list[Clip] = []
        self._starts: list[int] = []
        self._index: SoundIndex | None = None

    def __call__(self, pcm: bytes, track: CallerTrack) -> int:
        """Puts the clip that holds ``pcm`` on the track; gives the byte offset of ``pcm`` there.

        Returns -1 if no clip holds it.
        """
        index = self._index or self.prepare()
        at, i = -1, 0
        for found in index.find(pcm[:_NEEDLE]):
            i = bisect_right(self._starts, found) - 1
            inside = found + len(pcm) <= self._starts[i] + 2 * len(self._clips[i].pcm)
            if inside and index.pcm.startswith(pcm, found):
                at = found
                break
        if at < 0:
            return -1
        clip = self._clips[i]
        turn = track.words[-1].turn + 1 if track.words else 0
        track.pcm += _GAP
        begin = len(track.pcm)
        begin_s = track.duration_s
        track.pcm += clip.pcm.tobytes() + _GAP
        track.words += [
            SpokenWord(w.text, begin_s + w.start_s, begin_s + w.end_s, turn) for w in clip.words
        ]
        return begin + at - self._starts[i]

    def prepare(self) -> SoundIndex:
        """Loads and indexes the clips, which takes a second."""
        self._clips = list(self._load())
        parts, at = [], 0
        for clip in self._clips:
            part = clip.pcm.tobytes() + _GAP
            parts.append(part)
            self._starts.append(at)
            at += len(part)
        self._index = SoundIndex(b"".join(parts))
        return self._index
