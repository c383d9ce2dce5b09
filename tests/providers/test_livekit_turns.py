"""The hosted detectors of turns, through the SDK's own clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import numpy as np
import pytest
from gateway_stage import WAY_S, gateway, logged, play, reached
from livekit.agents import inference
from livekit.agents.inference import interruption
from livekit.agents.inference._utils import create_access_token
from stage import HELLO, Timed, make_track

from labkit.evidence import eot_bench
from labkit.providers.livekit.eot import moved
from labkit.providers.profile import load_profiles
from labkit.world.events import Assumed, Overlap, Scored
from labkit.world.scene import SAMPLE_RATE_HZ, Scene

Run = Callable[..., Any]
PAUSED: Timed = [*HELLO[:3], *((w, a + 1.0, b + 1.0) for w, a, b in HELLO[3:])]
TURNS = load_profiles()["livekit"].of_role("turns")


# -- the end of a turn -----------------------------------------------------------------------------


def scored(
    run: Run, words: Timed, until_s: float, local: Any = lambda window: 0.3, **figures: Any
) -> tuple[Any, float, Any, Scene]:
    """The event for the first ``until_s`` of a track, how long it took, and the stream."""
    scene = Scene(seed=3, turn=0, track=make_track(words, 6.0, tone=8), local_eot=local)

    async def main() -> tuple[Any, float, Any, Scene]:
        loop = asyncio.get_running_loop()
        async with reached(gateway(scene, **figures)) as where:
            detector = inference.TurnDetector(version="v1", **where)
            stream = detector.stream()
            await asyncio.sleep(0.5)
            pcm = bytes(scene.track.pcm)[: round(until_s * SAMPLE_RATE_HZ) * 2]
            await play(stream.push_audio, pcm)
            await asyncio.sleep(0.01)  # the client sends its last frame after what asks about it
            began_s = loop.time()
            event = await stream.predict()
            took_s = loop.time() - began_s
            await stream.aclose()
        return event, took_s, stream, scene

    found: tuple[Any, float, Any, Scene] = run(main())
    return found


def test_a_score_is_that_of_the_local_model_on_the_same_sound_moved(run: Run) -> None:
    windows: list[np.ndarray] = []

    def local(window: np.ndarray) -> float:
        windows.append(window)
        return 0.3

    event, took_s, stream, scene = scored(run, HELLO, 3.0, local, **{"turns.eot.inference": 0.05})
    assert event.end_of_turn_probability == pytest.approx(moved(0.3, TURNS.value("eot", "ends")))
    assert took_s == pytest.approx(0.05 + 2 * WAY_S, abs=2e-3)
    assert event.inference_duration == pytest.approx(0.05, abs=1e-3)
    (window,) = windows
    assert len(window) == 1.2 * SAMPLE_RATE_HZ
    pcm = np.frombuffer(bytes(scene.track.pcm), np.int16)
    assert np.array_equal(window, pcm[round(1.8 * SAMPLE_RATE_HZ) : 3 * SAMPLE_RATE_HZ])
    assert not stream.is_fallback
    (told,) = logged(scene, Scored)
    assert told.probability == pytest.approx(event.end_of_turn_probability)
    assert told.took_s == pytest.approx(0.05)
    assert any("v1-mini" in e.text for e in logged(scene, Assumed))


def test_a_pause_is_told_from_an_end_by_the_words_that_follow(run: Run) -> None:
    event, *_ = scored(run, PAUSED, 1.9)  # "Hello, I'd like" … 1.0 s … "to move my appointment."
    assert event.end_of_turn_probability == pytest.approx(moved(0.3, TURNS.value("eot", "pauses")))


def test_the_service_tells_its_thresholds(run: Run) -> None:
    _, _, stream, _ = scored(run, HELLO, 3.0)
    from livekit.agents.language import LanguageCode

    assert run(stream.unlikely_threshold(LanguageCode("en"))) == 0.57
    assert run(stream.backchannel_threshold(LanguageCode("en"))) is None


@pytest.mark.parametrize("figures", [{"turns.eot.inference": 3.0}, {"turns.limits.sockets": 0}])
def test_a_service_that_fails_leaves_the_local_model(run: Run, figures: dict[str, Any]) -> None:
    scene = Scene(seed=3, turn=0, track=make_track(HELLO, 4.0), local_eot=lambda window: 0.3)

    async def main() -> bool:
        async with reached(gateway(scene, **figures)) as where:
            stream = inference.TurnDetector(version="v1", **where).stream()
            await asyncio.sleep(0.5)
            await play(stream.push_audio, bytes(scene.track.pcm)[:32_000])
            future = stream.predict()
            _, waiting = await asyncio.wait({future}, timeout=stream.prediction_timeout)
            if waiting:  # as a session does
                stream.cancel_inference(timed_out=True)
            await asyncio.sleep(0.1)
            fell_back = bool(stream.is_fallback)
            await stream.aclose()
        return fell_back

    assert run(main())


def test_what_is_no_protobuf_is_an_error(run: Run, hello: Scene) -> None:
    async def main() -> int | None:
        async with reached(gateway(hello)) as where:
            token = create_access_token(where["api_key"], where["api_secret"])
            headers = {"Authorization": f"Bearer {token}"}
            session = where["http_session"]
            async with session.ws_connect(f"{where['base_url']}/eot", headers=headers) as ws:
                await ws.send_bytes(b"\xff\xff\xff")
                assert (await ws.receive()).type is aiohttp.WSMsgType.BINARY
                await ws.receive()
                code: int | None = ws.close_code
                return code

    assert run(main()) == 1008


@pytest.mark.parametrize(
    ("score", "wanted"), [(0.0, 0.0), (0.1, 0.2), (0.2, 0.4), (0.6, 0.7), (1.0, 1.0)]
)
def test_a_map_is_linear_between_its_points(score: float, wanted: float) -> None:
    assert moved(score, [[0.0, 0.0], [0.2, 0.4], [1.0, 1.0]]) == pytest.approx(wanted)


def test_the_maps_meet_the_published_row_of_v1() -> None:
    """Carried out again from the published rows, as the profile says."""
    bench = eot_bench.load()
    mini = {p.threshold: p for p in bench["v1-mini"].points}
    hosted = {(p.threshold, p.timeout_s): p for p in bench["v1"].points}
    longer = {0.2: 1.0, 0.3: 0.556, 0.7: 0.18, 1.5: 0.055, 2.0: 0.035, 3.0: 0.015}

    def taken(p: Any) -> float:
        """Proportion of the pauses longer than the action delay with a score that high."""
        out = longer[p.timeout_s]
        return float((p.false_cutoffs - out) / (longer[p.action_delay_s] - out))

    def carried(low: tuple[float, float], high: tuple[float, float], wanted: float) -> float:
        slope = (high[1] - low[1]) / (high[0] - low[0])
        return low[0] + (wanted - low[1]) / slope

    ends = [(t, mini[t].ends_detected) for t in (0.25, 0.36)]
    pauses = [(t, taken(mini[t])) for t in (0.39, 0.43)]
    for (threshold, timeout_s), at in (((0.57, 2.0), 1), ((0.72, 3.0), 2)):
        point = hosted[threshold, timeout_s]
        for name, line, share in (
            ("ends", ends, point.ends_detected),
            ("pauses", pauses, taken(point)),
        ):
            score, moved_to = TURNS.value("eot", name)[at]
            assert moved_to == threshold
            assert score == pytest.approx(carried(*line, share), abs=2e-3), name
    for name in ("ends", "pauses"):
        points = TURNS.value("eot", name)
        assert points == sorted(points)
        assert [y for _, y in points] == sorted(y for _, y in points)
        assert (points[0], points[-1]) == ([0.0, 0.0], [1.0, 1.0])


# -- interruptions ---------------------------------------------------------------------------------


def overlapped(
    run: Run, words: Timed, seed: int = 3, turn: int = 0, **figures: Any
) -> tuple[list[Any], Scene]:
    """What the client makes of a caller who says some words over the agent from 1.5 s on."""
    scene = Scene(seed=seed, turn=turn, track=make_track(words, 4.0, turns=[turn] * len(words)))

    async def main() -> list[Any]:
        async with reached(gateway(scene, **figures)) as where:
            detector = interruption.AdaptiveInterruptionDetector(**where)
            stream, got = detector.stream(), []

            async def listen() -> None:
                async for event in stream:
                    got.append(event)

            reader = asyncio.create_task(listen())
            await asyncio.sleep(0.5)
            stream.push_frame(interruption._AgentSpeechStartedSentinel())
            pcm = bytes(scene.track.pcm)
            cut = round(words[0][1] + 0.1, 2)
            await play(stream.push_frame, pcm[: round(cut * SAMPLE_RATE_HZ) * 2])
            stream.push_frame(interruption._OverlapSpeechStartedSentinel(0.1, cut))
            await asyncio.sleep(0)
            await play(stream.push_frame, pcm[round(cut * SAMPLE_RATE_HZ) * 2 :])
            stream.push_frame(interruption._OverlapSpeechEndedSentinel(3.0))
            await asyncio.sleep(0.2)
            stream.end_input()
            await reader
            await stream.aclose()
        return got

    return run(main()), scene


@pytest.mark.parametrize("words", [[("Wait,", 1.5, 1.8), ("stop.", 1.9, 2.3)], [("No.", 1.5, 1.7)]])
def test_words_over_the_agent_interrupt_it(run: Run, words: Timed) -> None:
    events, scene = overlapped(run, words)
    assert [e.is_interruption for e in events] == [True]
    (told,) = logged(scene, Overlap)
    assert told.interrupts
    assert told.text.startswith(words[0][0])
    assert any("12.5%" in e.text for e in logged(scene, Assumed))


def test_a_sound_of_listening_seldom_does(run: Run) -> None:
    """As often as was measured: 3 of 24."""
    words: Timed = [("Mhm.", 1.5, 1.9)]
    taken = [overlapped(run, words, seed)[0][0].is_interruption for seed in range(24)]
    assert 1 <= sum(taken) <= 6
    for share, wanted in ((0.0, False), (1.0, True)):
        figures = {"turns.bargein.listening_taken": share}
        assert [e.is_interruption for e in overlapped(run, words, **figures)[0]] == [wanted]


def test_the_threshold_that_a_client_asks_for_holds(run: Run) -> None:
    words: Timed = [("Wait,", 1.5, 1.8), ("stop.", 1.9, 2.3)]
    for sure, wanted in ((0.49, False), (0.51, True)):
        events, _ = overlapped(run, words, **{"turns.bargein.sure": sure})
        assert [e.is_interruption for e in events] == [wanted]
