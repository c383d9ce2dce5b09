"""What a request is for, and that requests of one role never move another's draws."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
from llm_stage import POLICY, POLICY_REPLY, anthropic_stage, openai_stage, rows

from labkit.providers.cartesia.service import CartesiaEmulator
from labkit.providers.conversation import Message
from labkit.providers.occasion import WHOLE, occasion
from labkit.providers.profile import Profile
from labkit.providers.tts import Options
from labkit.world.events import Completed, FirstToken, Request
from labkit.world.request_role import RequestRole
from labkit.world.scene import CallerTrack, Scene, SpokenWord

Run = Callable[[Any], Any]
Got = tuple[RequestRole, tuple[float, float]]
MAIN = "You are a friendly voice assistant."
JUDGE = 'You judge replies. Respond with JSON only, like {"score": 1.0}.'
GUARD = "You are a guardrail. Reply with one word only: allow or block."
OTHER_GUARD = "You are a moderator. Reply with one word only: safe or unsafe."
ASKED: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "reply": (MAIN, [("user", POLICY)]),
    "draft": (MAIN, [("user", "What's your")]),
    "judge": (JUDGE, [("user", "The reply: Certainly.")]),
    "guard": (GUARD, [("user", POLICY)]),
    "other guard": (OTHER_GUARD, [("user", POLICY)]),
}


def said(text: str, turn: int = 0) -> CallerTrack:
    """A track on which the words of a turn are all begun."""
    track = CallerTrack()
    track.words = [SpokenWord(w, i * 0.3, i * 0.3 + 0.25, turn) for i, w in enumerate(text.split())]
    return track


@pytest.fixture(params=["openai", "anthropic"])
def waits(
    request: pytest.FixtureRequest, run: Run, profiles: dict[str, Profile]
) -> Callable[..., list[Got]]:
    """Role of requests sent one after another in one turn, what their draws made of the wait for
    the first token, and how long the other tokens took, seconds."""

    def asking(*asked: tuple[str, list[tuple[str, str]]], late: bool = False) -> list[Got]:
        async def main() -> list[Got]:
            name = request.param
            staged = openai_stage if name == "openai" else anthropic_stage
            async with staged(profiles[name]) as stage, stage.client() as client:  # type: ignore[operator]
                stage.scene.track = said(POLICY)
                if late:
                    stage.scene.turn = 1
                    stage.scene.track.words += said("And when does the shop open?", 1).words
                for system, talk in asked:
                    talked = [{"role": role, "content": text} for role, text in talk]
                    if name == "openai":
                        first = [{"role": "system", "content": system}]
                        await client.chat.completions.create(
                            model="gpt-4o-mini", messages=[*first, *talked]
                        )
                    else:
                        await client.messages.create(
                            model="claude-haiku-4-5",
                            max_tokens=50,
                            system=system,
                            messages=talked,
                        )
                rate = 24000 if name == "openai" else 20000
                events = zip(
                    *(rows(stage.scene, kind) for kind in (Request, FirstToken, Completed)),
                    strict=True,
                )
                return [
                    (
                        asked.request_role,
                        (
                            round(first.t_s - asked.t_s - asked.prompt_tokens / rate, 6),
                            round(done.t_s - first.t_s, 6),
                        ),
                    )
                    for asked, first, done in events
                ]

        return run(main())

    return asking


def test_each_role_has_a_draw_of_its_own(waits: Any) -> None:
    got = waits(*ASKED.values())
    assert [role.value for role, _ in got] == ["reply", "draft", "judge", "guard", "guard"]
    assert len({wait for _, wait in got}) == len(got)
    again = waits(*reversed(ASKED.values()))
    assert again == got[::-1]  # to the microsecond, whatever came before


def test_adding_removing_or_repeating_one_role_leaves_the_others(waits: Any) -> None:
    whole = dict(zip(ASKED, waits(*ASKED.values()), strict=True))
    for names in combinations(ASKED, 2):
        for order in (names, names[::-1]):
            assert waits(*(ASKED[n] for n in order)) == [whole[n] for n in order]
    often = waits(*[ASKED["guard"]] * 3, *[ASKED["judge"]] * 2, ASKED["reply"])
    assert often[-1] == whole["reply"]
    assert len({wait for _, wait in often}) == 6  # each try draws anew


def test_the_reply_keeps_its_draw_with_another_prompt_history_or_after_being_edited(
    waits: Any,
) -> None:
    (alone,) = waits(ASKED["reply"])
    earlier = [("user", "Hello."), ("assistant", "Hi.")]
    for system, talk in (
        ("You run the front desk of a hotel.", [("user", POLICY)]),
        (MAIN, [*earlier, ("user", POLICY)]),
    ):
        assert waits((system, talk))[0] == alone
    edited = (MAIN, [*earlier, ("user", POLICY)])
    assert waits(ASKED["reply"], edited) == [alone, alone]  # asked ahead, then again after a hook
    first, retried = waits(ASKED["reply"], ASKED["reply"])
    assert first == alone
    assert all(
        a != b for a, b in zip(retried[1], alone[1], strict=True)
    )  # the same prompt once more is a retry, or a race


def test_a_request_that_comes_late_keeps_its_turn_s_draws(waits: Any) -> None:
    assert waits(ASKED["reply"], late=True) == waits(ASKED["reply"])


def test_a_second_asker_of_the_same_words_draws_for_itself(waits: Any) -> None:
    filler = ("Say a few words that buy time while the answer is looked up.", [("user", POLICY)])
    main, aside = waits(ASKED["reply"], filler)
    assert main == waits(ASKED["reply"])[0]
    assert main[1] != aside[1]


def test_a_clock_in_the_prompt_makes_it_no_other_asker(waits: Any) -> None:
    at = [(f"It is 10:3{n}:05. {MAIN}", [("user", POLICY)]) for n in (1, 2)]
    first, second = waits(*at)
    assert first == second


def messages(*talk: tuple[str, str]) -> list[Message]:
    return [Message(role, text) for role, text in talk]


TURN = "I'd like to, um, move my appointment to Friday."


@pytest.mark.parametrize(
    ("text", "role", "heard"),
    [
        (TURN, "reply", WHOLE),
        ("i'd like to move my appointment to friday", "reply", WHOLE),
        ("I'd like to move my appointment to fraying.", "reply", WHOLE),  # misheard
        ("to Friday.", "reply", WHOLE),  # the rest of a turn heard in pieces
        (f"{TURN} (The caller sounds hurried.)", "reply", WHOLE),
        ("I'd like to", "draft", 3),
        ("I'd like to move my", "draft", 5),
    ],
)
def test_a_draft_is_told_from_the_whole_turn(text: str, role: str, heard: int) -> None:
    scene = Scene(turn=0, track=said(TURN))
    found = occasion(messages(("system", MAIN), ("user", text)), "reply", scene)
    assert (found.role.value, found.key) == (role, (heard,))


def test_words_that_the_caller_did_not_say_are_another_s() -> None:
    scene = Scene(turn=0, track=said(TURN))
    ask = messages(("system", "Summarise."), ("user", "Weather: sun all over the country."))
    other = occasion(ask, "fallback", scene)
    assert other.role is RequestRole.OTHER
    assert occasion(ask, "fallback", Scene(turn=0)).role is RequestRole.REPLY  # nothing is known


def test_tool_steps_are_counted_and_instructions_are_apart() -> None:
    scene = Scene(turn=0, track=said(TURN))
    talk = [("system", MAIN), ("user", TURN), ("assistant", ""), ("tool", "{}")]
    one = occasion(messages(*talk), "after_tool", scene)
    two = occasion(messages(*talk, ("tool", "{}")), "after_tool", scene)
    assert (one.role, one.key) == (RequestRole.TOOL_STEP, (1, WHOLE))
    assert two.key == (2, WHOLE)
    orders = [messages(*talk[:2], ("system", o)) for o in ("Say goodbye.", "Greet the caller.")]
    a, b = (occasion(o, "instructed", scene) for o in orders)
    assert a.role is b.role is RequestRole.INSTRUCTED
    assert a.key != b.key


def test_a_late_request_belongs_to_the_turn_whose_words_it_has() -> None:
    track = said("Where is my order?")
    track.words += said("And when does the shop open?", turn=1).words
    scene = Scene(turn=1, track=track)
    late = occasion(messages(("user", "Where is my order?"), ("tool", "{}")), "after_tool", scene)
    assert (late.turn, late.key) == (0, (1, WHOLE))
    assert occasion(messages(("user", "And when does")), "partial", scene).turn == 1


# -- text to speech -------------------------------------------------------------------------------


def spoken(profile: Profile, *texts: str, scene: Scene | None = None) -> list[tuple[float, float]]:
    """First audio and leading silence of utterances begun one after another."""
    scene = scene or Scene(seed=4, turn=2)
    emulator = CartesiaEmulator(profile, lambda: scene)
    paces = [emulator.pace(Options("sonic-3", 24_000), text) for text in texts]
    return [(p.first_audio_s(0), p.leading_s) for p in paces]


def test_a_filler_before_a_reply_moves_none_of_the_reply_s_draws(
    profiles: dict[str, Profile],
) -> None:
    profile = profiles["cartesia"]
    for reply in (POLICY_REPLY, "Something that no dialogue knows."):
        (alone,) = spoken(profile, reply)
        for before in (["Okay."], ["One moment.", "Let me see."], ["Okay.", "Okay."]):
            *fillers, after = spoken(profile, *before, reply)
            assert after == alone
            assert len({*fillers, after}) == len(before) + 1


def test_an_answer_is_spoken_with_its_own_draws_in_whatever_words(
    run: Run, profiles: dict[str, Profile]
) -> None:
    """Of an LLM's answer, other words, or the same in other pieces, have the same draws."""

    async def answered(*talk: tuple[str, str]) -> Scene:
        async with openai_stage(profiles["openai"]) as stage, stage.client() as client:
            messages = [{"role": role, "content": text} for role, text in talk]
            await client.chat.completions.create(model="gpt-4o-mini", messages=messages)  # type: ignore[arg-type]
            return stage.scene

    async def main() -> None:
        profile = profiles["cartesia"]
        one = await answered(("user", POLICY))
        other = await answered(("user", "Tell me of the moon, please."))
        (sentence,) = spoken(profile, POLICY_REPLY.partition(". ")[0] + ".", scene=one)
        (word,) = spoken(profile, "You", scene=one)
        (unscripted,) = spoken(profile, other.answers[-1].text, scene=other)
        (opened,) = spoken(profile, f"Okay. {POLICY_REPLY}", scene=one)
        assert sentence == word == unscripted == opened
        (cached,) = spoken(profile, POLICY_REPLY, scene=Scene(seed=1, turn=0))
        assert cached == sentence  # no LLM was asked
        (own,) = spoken(profile, "Okay.", scene=one)
        assert own != sentence

    run(main())


def test_a_judge_s_ruling_is_no_answer_to_be_spoken(run: Run, profiles: dict[str, Profile]) -> None:
    async def main() -> None:
        async with openai_stage(profiles["openai"]) as stage, stage.client() as client:
            asked = [{"role": "system", "content": GUARD}, {"role": "user", "content": POLICY}]
            await client.chat.completions.create(model="gpt-4o-mini", messages=asked)  # type: ignore[arg-type]
            assert not stage.scene.answers

    run(main())


# -- connections and embeddings -------------------------------------------------------------------


def test_a_connection_with_other_options_leaves_the_draw_of_the_first(
    profiles: dict[str, Profile],
) -> None:
    from aiohttp.test_utils import make_mocked_request

    scene = Scene(seed=4, turn=0)

    def keys(*paths: str) -> list[tuple[Any, ...]]:
        emulator = CartesiaEmulator(profiles["cartesia"], lambda: scene)
        return [emulator._connection(make_mocked_request("GET", path)) for path in paths]

    main, more = "/v1/listen?model=nova-3&language=en", "/v1/listen?model=nova-3&language=de"
    assert keys(more, main)[1] == keys(main)[0]
    assert keys(main, more)[1] == keys(more)[0] != keys(main)[0]
    assert keys(main.replace("nova-3", "nova-2")) == keys(main)  # arms may differ in the model
    first, second = keys(main, main)
    assert first != second


def test_an_embedding_is_named_by_what_is_embedded(run: Run, profiles: dict[str, Profile]) -> None:
    async def waited(*texts: str) -> list[float]:
        async with openai_stage(profiles["openai"]) as stage, stage.client() as client:
            loop, out = asyncio.get_running_loop(), []
            await client.models.list()  # connects
            for text in texts:
                began_s = loop.time()
                await client.embeddings.create(model="text-embedding-3-small", input=text)
                out.append(round(loop.time() - began_s, 6))
            return out

    async def main() -> None:
        both = await waited("one", "two")
        assert await waited("two", "one") == both[::-1]
        assert both[0] != both[1]
        again = await waited("one", "one")
        assert again[0] == both[0] != again[1]

    run(main())
