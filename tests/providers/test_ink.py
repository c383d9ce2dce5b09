"""The emulated Cartesia recognition, seen by the LiveKit plugin and on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import numpy as np
import pytest
from livekit.agents import APIConnectOptions, APIError
from livekit.plugins import cartesia as plugin
from stage import HELLO, Stream, Timed, frames, make_track, opened, told_by

from labkit.providers.cartesia.recognition import CartesiaInkEmulator
from labkit.providers.profile import Profile
from labkit.providers.server import listening
from labkit.world.events import Connected, Refused, Transcript
from labkit.world.scene import Scene

Run = Callable[..., Any]
SAID = " ".join(w[0] for w in HELLO)
KEY = {"X-API-Key": "k", "Cartesia-Version": "2026-03-01"}
TURNS, PLAIN = "/stt/turns/websocket", "/stt/websocket"
RAW = {"encoding": "pcm_s16le", "sample_rate": 16000}
PAUSED: Timed = (("Move", 0.5, 0.8), ("my", 0.8, 1.0), ("visit", 2.5, 2.8), ("please.", 2.8, 3.2))


def ink(profiles: dict[str, Profile], scene: Scene) -> CartesiaInkEmulator:
    return CartesiaInkEmulator(
        profiles["cartesia"].of_role("stt"), lambda: scene, api_keys=frozenset({"k"})
    )


def scene_of(words: Timed, duration_s: float, seed: int = 3) -> Scene:
    return Scene(seed=seed, turn=0, track=make_track(words, duration_s))


async def heard(
    service: CartesiaInkEmulator, act: Callable[[Any], None] = lambda stream: None, **options: Any
) -> list[tuple[str, str]]:
    """What the plugin reports of the caller's track; ``act`` comes after three seconds."""
    async with listening(service) as port, aiohttp.ClientSession() as session:
        stt = plugin.STT(
            **{"api_key": "k", **options},
            base_url=f"http://127.0.0.1:{port}",
            http_session=session,
        )
        stream = stt.stream(conn_options=APIConnectOptions(max_retry=1))
        return await told_by(stream, bytes(service.scene().track.pcm), act, after=60)


def play(run: Run, service: CartesiaInkEmulator, path: str, *last: str, **query: Any) -> Stream:
    async def main() -> Stream:
        async with opened(service, path, KEY, **RAW, **query) as stream:
            await stream.play(frames(bytes(service.scene().track.pcm)))
            for text in last:
                await stream.ws.send_str(text)
            await stream.end()
            return stream

    stream: Stream = run(main())
    return stream


def test_the_plugin_gets_the_turns_of_ink_2(
    run: Run, profiles: dict[str, Profile], hello: Scene
) -> None:
    events = run(heard(ink(profiles, hello)))
    assert events[0] == ("start_of_speech", "")
    assert [text for kind, text in events if kind == "final_transcript"] == [SAID]
    kinds = {kind for kind, _ in events}
    assert {"interim_transcript", "preflight_transcript", "end_of_speech"} <= kinds
    (row,) = [e for e in hello.log.events if isinstance(e, Connected)]
    assert (row.model, row.usd_per_minute) == ("ink-2", 0.003)


def test_the_plugin_gets_the_words_of_ink_whisper_when_it_asks(
    run: Run, profiles: dict[str, Profile], hello: Scene
) -> None:
    service = ink(profiles, hello)
    events = run(heard(service, lambda stream: stream.flush(), model="ink-whisper"))
    assert [text for kind, text in events if kind == "final_transcript"] == [SAID]
    (row,) = [e for e in hello.log.events if isinstance(e, Transcript)]
    assert row.t_s > 2.8


def test_the_plugin_connects_again_for_another_language(
    run: Run, profiles: dict[str, Profile]
) -> None:
    scene = scene_of((*HELLO, ("Hello", 4.0, 4.4), ("again.", 4.4, 5.0)), 8.0)
    events = run(
        heard(
            ink(profiles, scene),
            lambda stream: stream.update_options(language="de"),
            model="ink-whisper",
        )
    )
    said = " ".join(text for kind, text in events if kind == "final_transcript")
    assert said.endswith("Hello again.")
    assert len([e for e in scene.log.events if isinstance(e, Connected)]) == 2


def test_the_plugin_sees_the_true_errors(
    run: Run, profiles: dict[str, Profile], hello: Scene
) -> None:
    for options, status in (({"api_key": "wrong"}, 401), ({"turn_end_timeout_ms": 99}, 400)):
        hello.log.events.clear()
        with pytest.raises(APIError):
            run(heard(ink(profiles, hello), **options))
        assert {e.status for e in hello.log.events if isinstance(e, Refused)} == {status}


def test_a_turn_begins_grows_may_end_goes_on_and_ends(
    run: Run, profiles: dict[str, Profile]
) -> None:
    seen: set[tuple[str, ...]] = set()
    for seed in range(12):
        service = ink(profiles, scene_of(PAUSED, 9.0, seed))
        stream = play(run, service, TURNS, '{"type":"close"}', model="ink-2")
        kinds = [m["type"] for m in stream.got]
        assert kinds[:3] == ["connected", "turn.start", "turn.update"]
        assert kinds[-1] == "turn.end" and stream.ws.close_code == 1000
        ends = [m["transcript"] for m in stream.of(type="turn.end")]
        assert " ".join(ends) == "Move my visit please."
        assert kinds.count("turn.start") == len(ends)
        seen.add(tuple(k for k in kinds if k in ("turn.eager_end", "turn.resume")))
        if "turn.resume" in kinds:
            assert kinds.index("turn.eager_end") < kinds.index("turn.resume")
    assert any("turn.resume" in kinds for kinds in seen)


def test_thresholds_and_the_timeout_move_the_end(run: Run, profiles: dict[str, Profile]) -> None:
    def end_s(seed: int, **query: Any) -> float:
        service = ink(profiles, scene_of((("Move", 0.5, 0.8), ("my", 0.8, 1.0)), 9.0, seed))
        stream = play(run, service, TURNS, '{"type":"close"}', model="ink-2", **query)
        return float(stream.of(type="turn.end")[0]["t_s"])

    timeouts = [end_s(seed, turn_end_timeout_ms=640) for seed in range(4)]
    assert np.median(timeouts) == pytest.approx(1.0 + 0.65 + 0.07, abs=0.1)
    sure = [end_s(seed, turn_end_threshold=0.05) for seed in range(4)]
    bold = [end_s(seed, turn_end_threshold=0.39) for seed in range(4)]
    assert sum(sure) > sum(bold)


def test_ink_whisper_says_what_was_said_since_the_last_final(
    run: Run, profiles: dict[str, Profile]
) -> None:
    service = ink(profiles, scene_of(PAUSED, 5.0))
    stream = play(run, service, PLAIN, "finalize", "close", model="ink-whisper")
    final = stream.of(is_final=True)
    assert [m["text"] for m in final] == ["Move my", "visit please."]
    assert final[0]["words"][1] == {"word": "my", "start": 0.8, "end": 1.0}
    assert [m["type"] for m in stream.got[-2:]] == ["flush_done", "done"]


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        (TURNS, {"model": "ink-whisper"}, "must be one of ink-2"),
        (PLAIN, {"model": "ink-3"}, "must be one of ink-whisper"),
        (TURNS, {"model": "ink-2", "encoding": "pcm_f32le"}, "only pcm_s16le"),
        (TURNS, {"model": "ink-2", "turn_end_threshold": "low"}, "must be from 0.05 to 0.5"),
        (
            TURNS,
            {"model": "ink-2", "turn_end_threshold": 0.5, "turn_eager_end_threshold": 0.4},
            "must rise from turn_end to turn_eager_end",
        ),
    ],
)
def test_a_wrong_query_is_refused_with_what_is_allowed(
    run: Run, profiles: dict[str, Profile], hello: Scene, path: str, query: Any, said: str
) -> None:
    async def main() -> tuple[int, str]:
        async with listening(ink(profiles, hello)) as port, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}{path}"
            asked = {k: str(v) for k, v in {**RAW, **query}.items()}
            async with session.get(url, headers=KEY, params=asked) as answer:
                return answer.status, await answer.text()

    status, text = run(main())
    assert status == 400 and said in text


@pytest.mark.parametrize(("path", "model"), [(TURNS, "ink-2"), (PLAIN, "ink-whisper")])
def test_a_message_that_is_not_understood_closes_the_socket(
    run: Run, profiles: dict[str, Profile], hello: Scene, path: str, model: str
) -> None:
    service = ink(profiles, hello)
    stream = play(run, service, path, "hello", model=model)
    assert stream.got[-1]["type"] == "error" and stream.ws.close_code == 1008
    assert service.slots.held("k") == 0
