from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import numpy as np
import pytest
from stage import HELLO, Stream, Timed, frames, make_track, opened, sdk_environment

from labkit.providers.deepgram.service import DeepgramEmulator
from labkit.providers.profile import Profile
from labkit.providers.server import listening
from labkit.providers.turn_end import TurnEnd
from labkit.randomness import Delay, uniform
from labkit.world.scene import Scene

Run = Callable[..., Any]
AUTH = {"Authorization": "Token k"}
PATH = "/v2/listen"
RAW: dict[str, Any] = {"model": "flux-general-en", "encoding": "linear16", "sample_rate": 16000}
MODEL = "flux-general-en"


@pytest.fixture
def deepgram(profiles: dict[str, Profile], hello: Scene) -> DeepgramEmulator:
    return DeepgramEmulator(profiles["deepgram"], lambda: hello)


def play(run: Run, emulator: DeepgramEmulator, pcm: bytes, **query: Any) -> Stream:
    async def main() -> Stream:
        async with opened(emulator, PATH, AUTH, **RAW | query) as stream:
            await stream.play(frames(pcm, 0.08), 0.08)
            await stream.end(type="CloseStream")
            return stream

    stream: Stream = run(main())
    return stream


def events(stream: Stream) -> list[str]:
    return [m["event"] for m in stream.of(type="TurnInfo")]


def scene_of(words: Timed, duration_s: float, seed: int = 0) -> Scene:
    return Scene(seed=seed, turn=0, track=make_track(words, duration_s))


# -- the protocol ----------------------------------------------------------------------------------


def test_one_turn(run: Run, deepgram: DeepgramEmulator, hello: Scene) -> None:
    stream = play(run, deepgram, bytes(hello.track.pcm))
    assert stream.got[0]["type"] == "Connected"
    assert [m["sequence_id"] for m in stream.got] == list(range(len(stream.got)))
    assert len({m["request_id"] for m in stream.got}) == 1
    names = events(stream)
    assert names[0] == "StartOfTurn"
    assert set(names[1:-1]) == {"Update"}
    assert names[-1] == "EndOfTurn"
    assert names.count("EndOfTurn") == 1
    start, end = stream.of(event="StartOfTurn")[0], stream.of(event="EndOfTurn")[0]
    assert start["words"]
    assert start["transcript"] == "Hello,"
    assert end["transcript"] == " ".join(w[0] for w in HELLO)
    assert [w["word"] for w in end["words"]] == [w[0] for w in HELLO]
    assert end["end_of_turn_confidence"] >= 0.7
    assert end["trigger"] == "model"
    assert end["turn_index"] == 0
    assert end["t_s"] > 2.7
    confidences = [m["end_of_turn_confidence"] for m in stream.of(event="Update")]
    assert all(c < 0.7 for c in confidences)
    gaps = np.diff([m["t_s"] for m in stream.of(event="Update") if m["t_s"] < 2.7])
    assert np.median(gaps) == pytest.approx(0.25, abs=0.06)


def test_turns_are_counted_and_the_window_restarts(run: Run, profiles: dict[str, Profile]) -> None:
    scene = scene_of([("Yes.", 0.3, 0.7), ("No.", 8.0, 8.4)], 16.0)
    emulator = DeepgramEmulator(profiles["deepgram"], lambda: scene)
    first, second = play(run, emulator, bytes(scene.track.pcm)).of(event="EndOfTurn")
    assert (first["turn_index"], second["turn_index"]) == (0, 1)
    assert (first["transcript"], second["transcript"]) == ("Yes.", "No.")
    assert second["audio_window_start"] == first["audio_window_end"] > 0.7


def test_eager_events_only_on_request(run: Run, profiles: dict[str, Profile]) -> None:
    """Eager and Resumed come in pairs, and an EndOfTurn repeats its Eager's transcript."""
    words = [("Well", 0.3, 0.6), ("yes", 0.6, 0.9), ("I", 2.6, 2.7), ("do.", 2.7, 3.0)]
    resumed = 0
    for seed in range(30):
        scene = scene_of(words, 8.0, seed)
        emulator = DeepgramEmulator(profiles["deepgram"], lambda s=scene: s)  # type: ignore[misc]
        quiet = events(play(run, emulator, bytes(scene.track.pcm)))
        assert "EagerEndOfTurn" not in quiet
        assert "TurnResumed" not in quiet
        stream = play(run, emulator, bytes(scene.track.pcm), eager_eot_threshold=0.3)
        last: dict[str, Any] | None = None
        for m in stream.of(type="TurnInfo"):
            if m["event"] == "EagerEndOfTurn":
                assert last is None
                assert m["transcript"]
                last = m
            elif m["event"] == "TurnResumed":
                assert last is not None
                last, resumed = None, resumed + 1
            elif m["event"] == "EndOfTurn" and last is not None:
                assert m["transcript"] == last["transcript"]
                assert m["t_s"] >= last["t_s"]
                last = None
    assert resumed >= 2


def test_timeout_ends_a_turn_that_sounds_unfinished(run: Run, profiles: dict[str, Profile]) -> None:
    scene = scene_of([("and", 0.3, 0.6), ("um", 0.6, 0.9)], 6.0)
    emulator = DeepgramEmulator(profiles["deepgram"], lambda: scene)
    stream = play(run, emulator, bytes(scene.track.pcm), eot_threshold=1.0, eot_timeout_ms=2000)
    (end,) = stream.of(event="EndOfTurn")
    assert end["trigger"] == "timeout"
    assert 2.9 <= end["t_s"] < 3.2


def test_configure_and_force(run: Run, deepgram: DeepgramEmulator, hello: Scene) -> None:
    async def main() -> Stream:
        async with opened(deepgram, PATH, AUTH, **RAW) as stream:
            ws = stream.ws
            await ws.send_json(
                {"type": "Configure", "thresholds": {"eot_threshold": 0.8}, "keyterms": ["x"]}
            )
            await ws.send_json({"type": "Configure", "thresholds": {"eot_threshold": 3}})
            await stream.play(frames(hello.track.pcm)[:40])
            await ws.send_json({"type": "ForceEndTurn"})
            await asyncio.sleep(0.5)
            await stream.end(type="CloseStream")
            return stream

    stream = run(main())
    (good,) = stream.of(type="ConfigureSuccess")
    assert good["thresholds"] == {
        "eager_eot_threshold": None,
        "eot_threshold": 0.8,
        "eot_timeout_ms": 5000,
    }
    assert good["keyterms"] == ["x"]
    assert stream.of(type="ConfigureFailure")
    (end,) = stream.of(event="EndOfTurn")
    assert end["trigger"] == "manual"
    assert end["transcript"] == "Hello, I'd like to move my"


def test_an_unknown_message_is_fatal(run: Run, deepgram: DeepgramEmulator) -> None:
    async def main() -> Stream:
        async with opened(deepgram, PATH, AUTH, **RAW) as stream:
            assert await stream.end(type="KeepAlive") == 1008
            return stream

    (error,) = run(main()).of(type="Error")
    assert error["code"] == "UNPARSABLE_CLIENT_MESSAGE"
    assert error["description"]


@pytest.mark.parametrize(
    "change",
    [
        {"eot_threshold": "0.2"},
        {"eager_eot_threshold": "0.8"},  # above eot_threshold
        {"eot_timeout_ms": "100"},
        {"encoding": ""},
        {"model": "nova-3"},
    ],
)
def test_refusals(run: Run, deepgram: DeepgramEmulator, change: dict[str, str]) -> None:
    async def main() -> None:
        async with listening(deepgram) as port, aiohttp.ClientSession() as session:
            query = {k: str(v) for k, v in (RAW | change).items()}
            url = f"http://127.0.0.1:{port}{PATH}"
            async with session.get(url, headers=AUTH, params=query) as answer:
                assert answer.status == 400
                assert (await answer.json())["err_msg"]

    run(main())


# -- the model of the end of turn ------------------------------------------------------------------


@pytest.fixture
def turn_end(profiles: dict[str, Profile]) -> TurnEnd:
    return TurnEnd(profiles["deepgram"], MODEL)


def draws(n: int, purpose: str) -> np.ndarray[Any, Any]:
    return np.array([uniform(0, purpose, i) for i in range(n)])


def test_end_of_turn_delay_meets_the_published_figures(
    profiles: dict[str, Profile], turn_end: TurnEnd
) -> None:
    """About 260 ms in the median and 1.5 s at P95; eager 150 ms (350 ms at P95) sooner."""
    n = 4000
    event = profiles["deepgram"].delay("models", MODEL, "event")
    lags = np.array([event.quantile(u) for u in draws(n, "lag")])
    delay = turn_end.delay("done.")
    waits = np.array([delay.quantile((i + 0.5) / n) for i in range(n)])
    framing = draws(n, "frame") * 0.05
    ends = np.array([turn_end.crossing_s(0.7, w) for w in waits]) + framing + lags
    assert np.median(ends) == pytest.approx(0.26, abs=0.02)
    assert np.quantile(ends, 0.95) == pytest.approx(1.5, abs=0.1)
    gains = waits - np.array([turn_end.crossing_s(0.4, w) for w in waits])
    assert np.median(gains) == pytest.approx(0.15, abs=0.02)
    assert np.quantile(gains, 0.95) == pytest.approx(0.35, abs=0.04)


def test_false_ends_at_hesitations_meet_the_benchmark(turn_end: TurnEnd) -> None:
    """12.9 % of mid-turn pauses, over the pauses the profile names."""
    n = 4000
    pauses = Delay(median_s=0.6, p95_s=2.0)
    cut = 0
    for mix, wait, pause in zip(draws(n, "mix"), draws(n, "w"), draws(n, "p"), strict=True):
        last = "then." if mix < 0.08 else "booking" if mix < 0.43 else "the"
        cut += turn_end.delay(last).quantile(wait) < pauses.quantile(pause)
    assert cut / n == pytest.approx(0.129, abs=0.015)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("done.", "complete"),
        ("really?", "complete"),
        ("um.", "incomplete"),
        ("Tuesday,", "incomplete"),
        ("so...", "incomplete"),
        ("the", "incomplete"),
        ("Tuesday", "neutral"),
    ],
)
def test_how_words_look(text: str, kind: str) -> None:
    assert TurnEnd.kind(text) == kind


@pytest.mark.parametrize("wait_s", [0.02, 0.2, 3.0])
def test_confidence_and_crossings_agree(turn_end: TurnEnd, wait_s: float) -> None:
    assert turn_end.confidence(wait_s, wait_s) == pytest.approx(0.7)
    last = -1.0
    for threshold in (0.3, 0.5, 0.7, 0.9, 0.99):
        at_s = turn_end.crossing_s(threshold, wait_s)
        assert at_s >= last
        if at_s > 0:
            assert turn_end.confidence(at_s, wait_s) == pytest.approx(threshold)
        last = at_s
    assert turn_end.crossing_s(1.0, wait_s) == float("inf")


def test_the_future_is_not_used(run: Run, profiles: dict[str, Profile]) -> None:
    """What is said later changes nothing that was sent before."""
    begin = [("I", 0.3, 0.5), ("would", 0.5, 0.8), ("book", 0.8, 1.1)]
    got = []
    for later in ([], [("now.", 2.0, 2.4)]):
        scene = scene_of([*begin, *later], 4.0, seed=1)
        emulator = DeepgramEmulator(profiles["deepgram"], lambda s=scene: s)  # type: ignore[misc]
        stream = play(run, emulator, bytes(scene.track.pcm), eager_eot_threshold=0.4)
        got.append([m for m in stream.got if m["t_s"] < 2.0])
    assert got[0] == got[1]
    assert len(got[0]) > 3


# -- the true clients ------------------------------------------------------------------------------


def test_livekit_plugin_with_eager(run: Run, profiles: dict[str, Profile]) -> None:
    from livekit import rtc
    from livekit.plugins import deepgram as plugin

    async def main(emulator: DeepgramEmulator, pcm: bytes) -> list[tuple[str, str]]:
        async with listening(emulator) as port, aiohttp.ClientSession() as session:
            stt = plugin.STTv2(
                api_key="k",
                base_url=f"ws://127.0.0.1:{port}{PATH}",
                eager_eot_threshold=0.4,
                http_session=session,
            )
            stream = stt.stream()
            for i, chunk in enumerate(frames(pcm)):
                await asyncio.sleep(0.05)
                stream.push_frame(rtc.AudioFrame(chunk, 16000, 1, len(chunk) // 2))
                if i == 10:
                    stt.update_options(eot_threshold=0.75)
            stream.end_input()
            return [
                (e.type.value, e.alternatives[0].text if e.alternatives else "")
                async for e in stream
            ]

    seen = set()
    for seed in range(10):
        scene = scene_of([("Yes", 0.3, 0.6), ("please.", 0.6, 1.0)], 4.0, seed)
        emulator = DeepgramEmulator(profiles["deepgram"], lambda s=scene: s)  # type: ignore[misc]
        kinds = run(main(emulator, bytes(scene.track.pcm)))
        assert kinds[0] == ("start_of_speech", "")
        assert ("final_transcript", "Yes please.") in kinds
        assert kinds[-1][0] in ("end_of_speech", "recognition_usage")
        seen |= {kind for kind, _ in kinds}
    assert {"preflight_transcript", "interim_transcript", "end_of_speech"} <= seen


def test_official_client(hello: Scene, deepgram: DeepgramEmulator) -> None:
    sdk = pytest.importorskip("deepgram", reason="deepgram-sdk is not installed")
    from deepgram.core.events import EventType

    async def main() -> list[Any]:
        async with listening(deepgram) as port:
            client = sdk.AsyncDeepgramClient(api_key="k", environment=sdk_environment(port))
            got: list[Any] = []
            async with client.listen.v2.connect(
                model=MODEL, encoding="linear16", sample_rate=16000
            ) as connection:
                connection.on(EventType.MESSAGE, got.append)
                reading = asyncio.create_task(connection.start_listening())
                for chunk in frames(hello.track.pcm):
                    await connection.send_media(chunk)
                await connection.send_close_stream()
                await asyncio.wait_for(reading, 5)
            return got

    got = asyncio.run(main())
    assert got[0].type == "Connected"
    assert [m.transcript for m in got[1:] if m.event == "EndOfTurn"] == [
        " ".join(w[0] for w in HELLO)
    ]
