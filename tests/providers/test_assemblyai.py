"""The emulated AssemblyAI, seen by the LiveKit plugin and on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from stage import HELLO, Stream, Timed, frames, make_track, opened, told_by

from labkit.providers.assemblyai.service import AssemblyAIEmulator
from labkit.providers.profile import Profile
from labkit.providers.server import listening
from labkit.world.events import Connected, Refused, Transcript
from labkit.world.scene import Scene

plugin = pytest.importorskip("livekit.plugins.assemblyai")

Run = Callable[..., Any]
KEY = {"Authorization": "k"}
OLD, NEW = "universal-streaming-english", "u3-rt-pro"
SAID = " ".join(w[0] for w in HELLO)
PAUSED: Timed = (("Move", 0.5, 0.8), ("my", 0.8, 1.0), ("visit", 2.5, 2.8), ("please.", 2.8, 3.2))
"""A pause of 1.5 s in mid-sentence."""


def scene_of(words: Timed, duration_s: float, seed: int = 3) -> Scene:
    return Scene(seed=seed, turn=0, track=make_track(words, duration_s))


def emulator(profiles: dict[str, Profile], scene: Scene, **limits: float) -> AssemblyAIEmulator:
    table = profiles["assemblyai"].table
    changed = {k: {"value": v, "source": "test", "date": "2026-11-30"} for k, v in limits.items()}
    profile = Profile("assemblyai", table | {"limits": table["limits"] | changed}, "test")
    return AssemblyAIEmulator(profile, lambda: scene, api_keys=frozenset({"k"}))


def play(
    run: Run,
    service: AssemblyAIEmulator,
    *messages: Any,
    key: dict[str, str] = KEY,
    end: bool = True,
    **query: Any,
) -> Stream:
    """Plays the caller's track; messages go before it."""

    async def main() -> Stream:
        asked = {"sample_rate": 16000, "speech_model": NEW, **query}
        async with opened(service, "/v3/ws", key, **asked) as stream:
            for message in messages:
                if isinstance(message, bytes):
                    await stream.ws.send_bytes(message)
                elif isinstance(message, str):
                    await stream.ws.send_str(message)
                else:
                    await stream.ws.send_json(message)
            if end:
                await stream.play(frames(bytes(service.scene().track.pcm)))
            await (stream.end(type="Terminate") if end else stream.end())
            return stream

    stream: Stream = run(main())
    return stream


def finals(stream: Stream) -> list[str]:
    return [m["transcript"] for m in stream.of(type="Turn", end_of_turn=True)]


async def heard(
    service: AssemblyAIEmulator, act: Callable[[Any], None] = lambda stream: None, **options: Any
) -> list[tuple[str, str]]:
    """What the plugin reports while it is fed the caller's track."""

    async with listening(service) as port, aiohttp.ClientSession() as session:
        stt = plugin.STT(
            **{"api_key": "k", **options},
            base_url=f"ws://127.0.0.1:{port}",
            http_session=session,
        )
        stream = stt.stream()
        return await told_by(stream, bytes(service.scene().track.pcm), act, after=55)


def of(kind: str, events: list[tuple[str, str]]) -> list[str]:
    return [text for name, text in events if name == kind]


# -- the LiveKit plugin ----------------------------------------------------------------------------


def test_the_plugin_hears_every_word_with_its_defaults(
    run: Run, profiles: dict[str, Profile], hello: Scene
) -> None:
    """It asks for turns that end after 0.1 s of silence, so a sentence may come in pieces."""
    events = run(heard(emulator(profiles, hello)))
    assert events[0] == ("start_of_speech", "")
    pieces = of("final_transcript", events)
    assert " ".join(pieces) == SAID
    assert of("preflight_transcript", events) == pieces
    assert len(of("end_of_speech", events)) == len(pieces)
    assert [e.text for e in hello.log.events if isinstance(e, Transcript)] == pieces
    (connected,) = [e for e in hello.log.events if isinstance(e, Connected)]
    assert (connected.model, connected.usd_per_minute) == ("universal-3-6-pro", 0.0075)


def test_the_plugin_gets_one_written_turn_of_an_older_model(
    run: Run, profiles: dict[str, Profile], hello: Scene
) -> None:
    events = run(heard(emulator(profiles, hello), model=OLD, format_turns=True))
    assert of("final_transcript", events) == [SAID]
    spoken = "hello i'd like to move my appointment"
    interim = of("interim_transcript", events)
    assert interim[0] == "hello" and spoken in interim
    unwritten = run(heard(emulator(profiles, hello), model=OLD))
    assert of("final_transcript", unwritten) == [spoken]


def test_the_plugin_can_end_a_turn_itself(run: Run, profiles: dict[str, Profile]) -> None:
    scene = scene_of((("Yes", 0.5, 0.8), ("I", 0.8, 0.9), ("would", 2.0, 2.7)), 6.0)
    slow = {"min_turn_silence": 4000, "max_turn_silence": 5000}
    service = emulator(profiles, scene)
    events = run(heard(service, lambda stream: stream.force_endpoint(), **slow))
    assert of("final_transcript", events) == ["Yes I would"]
    assert len(of("final_transcript", run(heard(service, **slow)))) == 1, "at the end of input"


def test_the_plugin_connects_again_when_the_session_is_over(
    run: Run, profiles: dict[str, Profile]
) -> None:
    scene = scene_of(
        (*HELLO, ("Hello", 4.0, 4.4), ("again.", 4.4, 5.0)),
        8.0,
    )
    events = run(heard(emulator(profiles, scene, session_s=3.5)))
    assert " ".join(of("final_transcript", events)) == f"{SAID} Hello again."
    assert len([e for e in scene.log.events if isinstance(e, Connected)]) >= 2


def test_the_plugin_sees_a_wrong_key(run: Run, profiles: dict[str, Profile], hello: Scene) -> None:
    from livekit.agents import APIError

    with pytest.raises(APIError):
        run(heard(emulator(profiles, hello), api_key="wrong"))
    refused = [e for e in hello.log.events if isinstance(e, Refused)]
    assert {e.code for e in refused} == {"1008"}


# -- turns of the newer models ---------------------------------------------------------------------


def test_a_full_stop_ends_the_turn_and_a_pause_does_not(
    run: Run, profiles: dict[str, Profile]
) -> None:
    """As the service has it: from 0.1 s of silence a full stop is looked for, 1 s ends it."""
    counts = set()
    for seed in range(12):
        service = emulator(profiles, scene_of(PAUSED, 6.0, seed))
        stream = play(run, service)
        first = stream.of(type="Turn", end_of_turn=True)[0]
        counts.add(first["transcript"])
        assert first["transcript"] == "Move my"  # by a full stop written early, or after 1 s
        assert first["turn_is_formatted"] and first["end_of_turn_confidence"] == 1.0
        assert first["utterance"] == first["transcript"]
        late = first["t_s"] - 1.0
        assert late < 0.95 or late > 1.02, "min_turn_silence or max_turn_silence, and the delay"
        last = stream.of(type="Turn", end_of_turn=True)[-1]
        assert last["transcript"] == "visit please." and last["turn_order"] == 1
        counts.add("early" if late < 0.95 else "late")
    assert {"early", "late"} <= counts


def test_what_was_heard_is_said_early_and_in_pauses(run: Run, profiles: dict[str, Profile]) -> None:
    words: Timed = tuple((f"w{i}", 0.5 + 0.2 * i, 0.7 + 0.2 * i) for i in range(30))
    service = emulator(profiles, scene_of(words, 8.0))
    stream = play(run, service, interruption_delay=500)
    (started,) = stream.of(type="SpeechStarted")
    partials = stream.of(type="Turn", end_of_turn=False)
    assert stream.got.index(started) + 1 == stream.got.index(partials[0])
    assert started["timestamp"] == 500
    assert 1.25 < partials[0]["t_s"] < 1.9, "0.75 s after the first sound"
    assert 4.2 < partials[1]["t_s"] < 4.9, "and again after 3 s"
    assert partials[0]["transcript"] == "w0 w1 w2"
    assert not any(w["word_is_final"] for w in partials[0]["words"])
    assert partials[0]["words"][1] | {"confidence": 1} == {
        "text": "w1", "start": 700, "end": 900, "confidence": 1, "word_is_final": False
    }  # fmt: skip
    sooner = play(run, service, interruption_delay=0).of(type="Turn")[0]["t_s"]
    assert partials[0]["t_s"] - sooner == pytest.approx(0.5, abs=0.06)
    quiet = play(run, service, continuous_partials=False).of(type="Turn", end_of_turn=False)
    assert len(quiet) < len(partials)


def test_the_silences_may_change_while_the_socket_is_open(
    run: Run, profiles: dict[str, Profile]
) -> None:
    patient = {"type": "UpdateConfiguration", "min_turn_silence": 2000, "max_turn_silence": 2500}
    service = emulator(profiles, scene_of(PAUSED, 6.5))
    assert finals(play(run, service)) == ["Move my", "visit please."]
    assert finals(play(run, service, patient)) == ["Move my visit please."]


# -- turns of the older models ---------------------------------------------------------------------


def test_words_come_as_they_are_heard_and_confidence_ends_the_turn(
    run: Run, profiles: dict[str, Profile], hello: Scene
) -> None:
    stream = play(run, emulator(profiles, hello), speech_model=OLD)
    turns = stream.of(type="Turn")
    assert [len(m["words"]) for m in turns[:-1]] == [1, 2, 3, 4, 5, 6, 7]
    for turn, (_, _, end_s) in zip(turns[:-1], HELLO, strict=True):
        assert 0.05 < turn["t_s"] - end_s < 0.6
    assert turns[-1]["end_of_turn"] and not turns[-1]["turn_is_formatted"]
    assert 2.7 + 0.4 < turns[-1]["t_s"] < 2.7 + 0.4 + 0.4, "0.4 s of silence, and the delay"
    assert not stream.of(type="SpeechStarted")


def test_a_low_threshold_ends_turns_sooner_and_the_longest_silence_ends_them_all(
    run: Run, profiles: dict[str, Profile]
) -> None:
    ends = {0.0: 0, 1.0: 0}
    for seed in range(4):
        service = emulator(profiles, scene_of(PAUSED, 6.0, seed))
        for threshold in ends:
            wanted = {"end_of_turn_confidence_threshold": threshold, "speech_model": OLD}
            first = play(run, service, **wanted).of(type="Turn", end_of_turn=True)[0]
            assert first["transcript"] == "move my"
            ends[threshold] += first["t_s"] < 1.0 + 1.28
    assert ends[0.0] == 4 and ends[1.0] == 0
    patient = {"max_turn_silence": 3000, "end_of_turn_confidence_threshold": 1}
    assert finals(play(run, service, speech_model=OLD, **patient)) == ["move my visit please"]


def test_an_utterance_is_told_before_its_turn_is_over(
    run: Run, profiles: dict[str, Profile]
) -> None:
    service = emulator(profiles, scene_of(PAUSED, 6.0))
    wanted = {"max_turn_silence": 3000, "end_of_turn_confidence_threshold": 1}
    turns = play(run, service, speech_model=OLD, **wanted).of(type="Turn")
    assert [m["utterance"] for m in turns if m["utterance"]] == ["move my", "visit please"]
    assert [m["end_of_turn"] for m in turns if m["utterance"]] == [False, False]
    assert turns[-1]["end_of_turn"] and turns[-1]["transcript"] == "move my visit please"


# -- the rest of the protocol ----------------------------------------------------------------------


def test_a_session_begins_and_terminates(
    run: Run, profiles: dict[str, Profile], hello: Scene
) -> None:
    stream = play(run, emulator(profiles, hello))
    assert stream.got[0]["type"] == "Begin"
    assert stream.got[0]["expires_at"] == 10_800
    assert stream.got[-1]["type"] == "Termination"
    assert stream.got[-1]["audio_duration_seconds"] == 5.0
    assert stream.ws.close_code == 1000


@pytest.mark.parametrize(
    ("messages", "query", "key", "code", "said"),
    [
        ((), {}, {"Authorization": "wrong"}, 1008, "Invalid API key"),
        ((), {}, {}, 1008, "Invalid API key"),
        ((), {"speech_model": "universal-4"}, KEY, 3006, "'universal-4' must be one of"),
        ((), {"encoding": "pcm_mulaw"}, KEY, 3006, "only pcm_s16le is decoded here"),
        ((), {"min_turn_silence": "soon"}, KEY, 3006, "min_turn_silence=soon is not a number"),
        ((), {"format_turns": "perhaps"}, KEY, 3006, "must be true or false"),
        ((bytes(2 * 16_001),), {}, KEY, 3007, "Input duration violation: 1000.1 ms"),
        (("{",), {}, KEY, 3006, "Invalid JSON: {"),
        (("[]",), {}, KEY, 3006, "Invalid Message: []"),
        (({"type": "Hello"},), {}, KEY, 3006, "Invalid Message Type: Hello"),
        (
            ({"type": "UpdateConfiguration", "agent_context": "x" * 1751},),
            {}, KEY, 3006, "agent_context exceeds maximum length of 1750",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_closes_the_socket_with_its_code(
    run: Run,
    profiles: dict[str, Profile],
    hello: Scene,
    messages: Any,
    query: dict[str, Any],
    key: dict[str, str],
    code: int,
    said: str,
) -> None:
    service = emulator(profiles, hello)
    stream = play(run, service, *messages, key=key, end=False, **query)
    error = stream.got[-1]
    assert (error["type"], error["error_code"], stream.ws.close_code) == ("Error", code, code)
    assert said in error["error"]
    assert service.slots.held("k") == 0
    assert [e.code for e in hello.log.events if isinstance(e, Refused)] == [str(code)]
