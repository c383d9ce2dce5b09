"""Who calls and what they will say, drawn before the call begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from labkit.callers.persona import PERSONAS
from labkit.callers.rendering import at_level, spoken
from labkit.errors import one_of
from labkit.randomness import stream, uniform
from labkit.settings import SettingError, Settings
from labkit.world.clips import CALLER_RATE_HZ, Clip, Word
from labkit.world.dialogue import Dialogue, Turn
from labkit.world.own import OwnSpeech, is_own
from labkit.world.speech import SpeechCorpus

BREATH_S = 0.2
"""Between an interjection and the turn itself; shorter than any end of turn."""


@dataclass(frozen=True)
class PlannedTurn:
    """A turn of the dialogue with the clip that says it, as it sounds in this call.

    ``interjection`` is said first when the turn begins with a barge-in.
    """

    dialogue: str
    turn: Turn
    variant: str
    clip: Clip
    interjection: Clip


@dataclass(frozen=True)
class CallPlan:
    """Who calls, with which voice, what is said, and the backchannels."""

    voice: str
    persona: str
    turns: tuple[PlannedTurn, ...]
    backchannels: tuple[Clip, ...]
    settings: Settings
    """The caller's settings, with the persona's changes."""


def plan_call(
    settings: Settings,
    seed: int,
    call: int,
    n_turns: int,
    dialogues: Mapping[str, Dialogue],
    corpus: SpeechCorpus | OwnSpeech,
) -> CallPlan:
    """Draws a call. It depends on the seed and the call alone, so all arms hear the same callers.

    Raises:
        SettingError: the setting names a dialogue that does not exist.
    """
    wanted = settings.text("caller.dialogue")
    if is_own(wanted):
        (wanted,) = dialogues
    persona = PERSONAS[settings.text("caller.persona")]
    own = persona.settings(settings, seed, call)
    names = sorted(dialogues)
    if wanted != "mixed" and wanted not in dialogues:
        raise SettingError(f"caller.dialogue={wanted}: {one_of(wanted, ['mixed', *names])}")
    order = (
        [names[i] for i in stream(seed, "caller.dialogue", call).permutation(len(names))]
        if wanted == "mixed"
        else [wanted]
    )
    voice_draw = uniform(seed, "caller.voice", call)
    turns: list[PlannedTurn] = []
    first = dialogues[order[0]]
    voices = corpus.dialogue_voices(first.name)
    voice = voices[int(voice_draw * len(voices))]
    while len(turns) < n_turns:
        dialogue = dialogues[order[len({t.dialogue for t in turns}) % len(order)]]
        spoken_by = corpus.dialogue_voices(dialogue.name)
        speaker = voice if voice in spoken_by else spoken_by[int(voice_draw * len(spoken_by))]
        stops = corpus.barge_ins(speaker)
        for turn in dialogue.turns[: n_turns - len(turns)]:
            draw = uniform(seed, "caller.variant", call, len(turns))
            variant = persona.variant(corpus.variants(dialogue.name, turn.id), own, draw)
            clip = corpus.clip(dialogue=dialogue.name, turn=turn.id, variant=variant, voice=speaker)
            clip = spoken(clip, own, (seed, call, len(turns)))
            draw = uniform(seed, "caller.interjection", call, len(turns))
            stop = spoken(stops[int(draw * len(stops))], own, (seed, call, len(turns)))
            turns.append(PlannedTurn(dialogue.name, turn, variant, clip, stop))
    backchannels = [spoken(c, own, (seed, call, n_turns)) for c in corpus.backchannels(voice)]
    level = own["caller.level_dbfs"]
    if level is not None:
        clips = [*(t.clip for t in turns), *(t.interjection for t in turns), *backchannels]
        loud = at_level(clips, float(level))
        turns = [
            replace(turn, clip=loud[i], interjection=loud[len(turns) + i])
            for i, turn in enumerate(turns)
        ]
        backchannels = loud[2 * len(turns) :]
    return CallPlan(voice, persona.name, tuple(turns), tuple(backchannels), own)


def joined(first: Clip, second: Clip) -> Clip:
    """Two clips said one after the other with a breath between them."""
    gap = np.zeros(round(BREATH_S * CALLER_RATE_HZ), np.int16)
    shift_s = (len(first.pcm) + len(gap)) / CALLER_RATE_HZ
    later = tuple(Word(w.text, w.start_s + shift_s, w.end_s + shift_s) for w in second.words)
    return replace(
        second,
        clip_id=f"{first.clip_id}+{second.clip_id}",
        text=f"{first.text} {second.text}",
        words=first.words + later,
        speech_end_s=second.speech_end_s + shift_s,
        pauses=tuple((a + shift_s, b + shift_s) for a, b in second.pauses),
        pcm=np.concatenate([first.pcm, gap, second.pcm]),
    )
