"""What a request to an LLM is for, and so which random draws it gets.

A draw is named by call, turn, role of the request and occurrence, so that requests of one role
never move another's. The role is inferred from what arrives on the wire and from what the caller is
saying:

* A *reply* answers the whole turn. Its name holds neither its prompt, history nor model: arms that
  change those see the same draws. With preemptive generation the early request is the reply
  already; asked again with the same words and another prompt, as after a hook has edited the
  context, it keeps its draw, since that is the draw it has in an arm without preemption. The very
  same prompt once more is a retry or a hedge, and draws anew.
* A *draft* answers the words heard so far, and is named by how many of the turn's words they are.
* A *tool step* follows as many tool results.
* A *judge* or a *guard* is asked for a ruling, and is named by its own prompt.
* A request that an agent's *instruction* causes is named by the instruction.
* Any *other* request is about something that the caller did not say, and is named by its prompt.

Who else asks about the caller's words, such as a second LLM with instructions of its own, is
counted apart, in the order in which the askers first appear in a call.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from labkit.providers.conversation import Message
from labkit.providers.generation import last_user
from labkit.providers.instructions import is_instruction
from labkit.providers.rulings import guards
from labkit.providers.wording import canonical
from labkit.world.dialogue import load_dialogues
from labkit.world.request_role import RequestRole
from labkit.world.scene import Scene
from labkit.world.turn import Dialogue

WHOLE = -1
"""Words heard when it is the whole turn."""
_CHANGING = re.compile(r"\d+")
_HEAD = 300
"""Characters by which instructions are told apart; notes are added behind, and numbers, such as the
time of day, do not make them another's."""
_START = 15
"""Characters by which the start of an answer is known behind other words."""
_REPLY = (RequestRole.REPLY.value, WHOLE, 0)
_LONGEST = 400
"""Words of a turn that are compared."""


@dataclass(frozen=True)
class Occasion:
    """What a request is for.

    Attributes:
        role: Its role.
        turn: The caller turn that it is about.
        key: What else names it within the turn.
        asker: Digest of the instructions, for a request about the caller's words; else empty.
    """

    role: RequestRole
    turn: int
    key: tuple[int | str, ...] = ()
    asker: str = ""


def occasion(messages: Sequence[Message], kind: str, scene: Scene) -> Occasion:
    """What a request is for.

    Args:
        messages: The request's messages, oldest first.
        kind: How its answer was found; see :class:`labkit.providers.conversation.Answer`.
        scene: The call in progress.
    """
    system = next((m.text for m in messages if m.role == "system"), "")
    text, step = last_user([m for m in messages if not is_instruction(m)])
    prompt = digest(system or text)
    if kind == "ruling":
        role = RequestRole.GUARD if guards(system or text) else RequestRole.JUDGE
        return Occasion(role, scene.turn, (prompt,))
    if kind == "instructed":
        return Occasion(RequestRole.INSTRUCTED, scene.turn, (digest(messages[-1].text),))
    turn, heard = _place(text, scene)
    if heard is None:
        return Occasion(RequestRole.OTHER, scene.turn, (prompt,))
    asker = digest(_CHANGING.sub("", system)[:_HEAD])
    if step:
        return Occasion(RequestRole.TOOL_STEP, turn, (step, heard), asker)
    role = RequestRole.REPLY if heard == WHOLE else RequestRole.DRAFT
    return Occasion(role, turn, (heard,), asker)


def utterance(text: str, scene: Scene) -> tuple[int, tuple[int | str, ...]]:
    """The turn that words to be spoken belong to, and what names them within it.

    They are an answer of an LLM in this call, or else what a dialogue's reply would be (as from an
    agent's cache), or else the agent's own.
    """
    said = " ".join(text.split())
    for answer in reversed(scene.answers):
        whole = " ".join(answer.text.split())
        inside = any(f"{end} {said}" in whole for end in ".?!")
        # an agent may have put a word of its own before it
        if said and (whole.startswith(said) or inside or f" {whole[:_START]}" in said):
            return answer.turn, answer.name
    dialogues = scene.dialogues or _packaged()
    if said and any(reply.startswith(said) for d in dialogues.values() for reply in _replies(d)):
        return scene.turn, _REPLY
    return scene.turn, ("own", digest(said))


@lru_cache(maxsize=1)
def _packaged() -> Mapping[str, Dialogue]:
    return load_dialogues()  # reading them takes longer than what is asked of them


@lru_cache(maxsize=64)
def _replies(dialogue: Dialogue) -> tuple[str, ...]:
    missed = [miss.reply for turn in dialogue.turns for miss in turn.near_misses]
    return (*(turn.reply for turn in dialogue.turns), *missed)


def digest(text: str) -> str:
    """A text's name within a key."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def messages_digest(messages: Sequence[Message]) -> str:
    """A name that two requests share only if they hold the same messages."""
    return digest("\0".join(f"{m.role}\1{m.text}" for m in messages))


def _place(text: str, scene: Scene) -> tuple[int, int | None]:
    """The turn that a text is from, and how many of its words it reaches; None if from neither.

    The turn is the present one, or the one before for a request that comes late. What only an STT
    of this call could know (that a word was lost, or which one was misheard) is not asked.
    """
    said = canonical(text)[-_LONGEST:]
    found = [(scene.turn - back, _reach(said, scene, scene.turn - back)) for back in (0, 1)]
    (turn, now), (_, before) = found
    if now is None or not said:  # nothing is known of what the caller says
        return turn, WHOLE
    if before is not None and before[0] > now[0]:
        turn, now = found[1][0], before
    share, heard = now
    return turn, heard if share >= 0.5 else None


def _reach(said: tuple[str, ...], scene: Scene, turn: int) -> tuple[float, int] | None:
    """How much of a text and a turn are the same (0 to 1), and how far into the turn it reaches.

    None if the turn has no words. A turn heard in pieces is reached by its last piece. Words behind
    the last one that fits count as misheard ones.
    """
    words = []
    for word in reversed(scene.track.words):
        if word.turn < turn:
            break
        if word.turn == turn:
            words.append(word.said or word.text)
    spoken = canonical(" ".join(reversed(words)))[:_LONGEST]
    if not spoken:
        return None
    blocks = SequenceMatcher(None, said, spoken, autojunk=False).get_matching_blocks()[:-1]
    if not blocks:
        return 0.0, 0
    same, last = sum(b.size for b in blocks), blocks[-1]
    reached = last.b + last.size + len(said) - (last.a + last.size)
    share = max(same / len(said), same / len(spoken))
    return share, reached if reached < len(spoken) else WHOLE
