from __future__ import annotations

import asyncio
import base64
import io
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import numpy as np
import pytest
from stage import Stream, opened

from labkit.providers.cartesia.service import CartesiaEmulator
from labkit.providers.profile import Profile
from labkit.providers.server import listening
from labkit.providers.tts import Options, in_pieces
from labkit.providers.voice import Voice, hum
from labkit.world.clips import Word
from labkit.world.events import (
    AudioCut,
    AudioDone,
    Connected,
    ContextExpired,
    Event,
    FirstAudio,
    Text,
)
from labkit.world.scene import Scene

E = TypeVar("E", bound=Event)

Run = Callable[..., Any]
KEY = {"X-API-Key": "k"}
PATH = "/tts/websocket"
VERSION = "2025-04-16"
VOICE = "f786b574-daa5-4673-aa0c-cbe3e8534c02"
RATE = 24_000
HUM = Voice(lambda text: None)
ONE = "Your appointment is on Tuesday at nine. "
TWO = "Is there anything else I can help you with? "


def body(transcript: str, **change: Any) -> dict[str, Any]:
    message: dict[str, Any] = {
        "model_id": "sonic-3",
        "voice": {"mode": "id", "id": VOICE},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE},
        "language": "en",
        "add_timestamps": True,
        "max_buffer_delay_ms": 0,
        "context_id": "c1",
        "transcript": transcript,
        "continue": True,
    }
    return message | change


@pytest.fixture
def scene() -> Scene:
    return Scene(seed=1, turn=0)


@pytest.fixture
def cartesia(profiles: dict[str, Profile], scene: Scene) -> CartesiaEmulator:
    return CartesiaEmulator(
        profiles["cartesia"], lambda: scene, api_keys=frozenset({"k"}), voice=HUM
    )


@asynccontextmanager
async def socket(emulator: CartesiaEmulator) -> AsyncIterator[Stream]:
    async with opened(emulator, PATH, KEY, cartesia_version=VERSION) as stream:
        yield stream


def talk(
    run: Run, emulator: CartesiaEmulator, *messages: dict[str, Any] | float, wait_s: float = 20.0
) -> Stream:
    """Sends messages (numbers are pauses, in seconds) and waits."""

    async def main() -> Stream:
        async with socket(emulator) as stream:
            for message in messages:
                if isinstance(message, float):
                    await asyncio.sleep(message)
                else:
                    await stream.ws.send_json(message)
            await asyncio.sleep(wait_s)
            await stream.ws.close()
            return stream

    stream: Stream = run(main())
    return stream


def pcm(stream: Stream, context: str = "c1") -> np.ndarray[Any, np.dtype[np.int16]]:
    data = [base64.b64decode(m["data"]) for m in stream.of(type="chunk", context_id=context)]
    return np.frombuffer(b"".join(data), np.int16)


def rows(scene: Scene, kind: type[E]) -> list[E]:
    """The logged events of one kind."""
    return [e for e in scene.log.events if isinstance(e, kind)]


# -- audio and its timing --------------------------------------------------------------------------


def test_one_sentence(run: Run, cartesia: CartesiaEmulator, scene: Scene) -> None:
    stream = talk(run, cartesia, body(ONE), body(" ", **{"continue": False}))
    chunks = stream.of(type="chunk")
    sound = pcm(stream)
    assert 0.09 <= chunks[0]["t_s"] <= 1.0
    step_s = 0.08 * 0.2
    gaps = np.diff([m["t_s"] for m in chunks])
    assert gaps == pytest.approx([step_s] * len(gaps), abs=1e-3)
    assert len(sound) / RATE == pytest.approx(len(ONE) / 15, rel=0.4)
    voiced = np.flatnonzero(np.abs(sound) > 300)
    assert 0.08 <= voiced[0] / RATE <= 0.42  # the leading silence is in the samples
    assert not sound[: voiced[0] - RATE // 50].any()
    done = stream.of(type="done")
    assert len(done) == 1
    assert done[0]["done"]
    assert stream.got[-1] == done[0]
    assert all(m["context_id"] == "c1" and m["status_code"] == 206 for m in stream.got)
    assert rows(scene, Text)[0].characters == len(ONE)
    assert rows(scene, AudioDone)[0].audio_s == pytest.approx(len(sound) / RATE)
    opened_s = rows(scene, Text)[0].t_s
    assert rows(scene, FirstAudio)[0].t_s - opened_s == pytest.approx(chunks[0]["t_s"], abs=1e-3)


def test_timestamps_echo_the_words_and_count_from_the_start(
    run: Run, cartesia: CartesiaEmulator
) -> None:
    stream = talk(run, cartesia, body(ONE), body(TWO), body("", **{"continue": False}))
    stamps = [m["word_timestamps"] for m in stream.of(type="timestamps")]
    words = [w for s in stamps for w in s["words"]]
    assert words == (ONE + TWO).split()
    starts = [t for s in stamps for t in s["start"]]
    assert starts == sorted(starts)
    sound = pcm(stream)
    voiced = np.flatnonzero(np.abs(sound) > 300) / RATE
    assert starts[0] == pytest.approx(voiced[0], abs=0.03)
    assert stamps[-1]["end"][-1] == pytest.approx(len(sound) / RATE, abs=0.03)
    assert not talk(run, cartesia, body(ONE, add_timestamps=False)).of(type="timestamps")


def test_a_sentence_in_time_continues_without_a_second_delay(
    run: Run, cartesia: CartesiaEmulator
) -> None:
    def gap_s(pause_s: float) -> float:
        stream = talk(run, cartesia, body(ONE), pause_s, body(TWO), body("", **{"continue": False}))
        times = [m["t_s"] for m in stream.of(type="chunk")]
        return float(max(np.diff(times)))

    assert gap_s(0.3) == pytest.approx(0.08 * 0.2, abs=1e-3)
    assert gap_s(1.2) > 0.09  # the synthesis had run dry


def test_a_context_expires(run: Run, profiles: dict[str, Profile], scene: Scene) -> None:
    late = (body(ONE), 5.0, body(TWO), body("", **{"continue": False}))
    emulator = CartesiaEmulator(profiles["cartesia"], lambda: scene, voice=HUM)
    fresh = talk(run, emulator, *late)
    first, second = (m["word_timestamps"]["start"][0] for m in fresh.of(type="timestamps"))
    assert first < 0.42
    assert second < 0.42
    assert fresh.of(type="done")
    assert rows(scene, ContextExpired)

    table = profiles["cartesia"].table
    strict = table | {"contexts": dict(table["contexts"])}
    strict["contexts"]["after_expiry"] = {"value": "error", "source": "test", "date": "2026-11-20"}
    emulator = CartesiaEmulator(Profile("cartesia", strict, "test"), lambda: scene, voice=HUM)
    (error, *_) = talk(run, emulator, *late).of(type="error")
    assert error["status_code"] == 400
    assert error["done"]


def test_first_audio_and_leading_silence_have_the_profile_s_quantiles(
    profiles: dict[str, Profile],
) -> None:
    from labkit.providers.cartesia.requests import parse

    profile, scene = profiles["cartesia"], Scene()
    emulator = CartesiaEmulator(profile, lambda: scene, voice=HUM)
    wanted, _ = parse(body(ONE), profile, streaming=True)
    first, silence = [], []
    for seed in range(3000):
        scene.seed = seed
        pace = emulator.pace(wanted, ONE)
        first.append(pace.first_audio_s(0))
        silence.append(pace.leading_s)
    for drawn, delay in (
        (first, profile.delay("models", "sonic-3", "first_audio")),
        (silence, profile.delay("audio", "leading_silence")),
    ):
        assert np.median(drawn) == pytest.approx(delay.median_s, rel=0.04)
        assert np.quantile(drawn, 0.95) == pytest.approx(delay.quantile(0.95), rel=0.08)
        assert min(drawn) >= delay.min_s


def test_the_same_call_sees_the_same_draws_whatever_the_model(
    run: Run, cartesia: CartesiaEmulator, profiles: dict[str, Profile]
) -> None:
    def ranks() -> list[float]:
        got = []
        for model in ("sonic-3", "sonic-turbo"):
            cartesia.reset()
            stream = talk(run, cartesia, body(ONE, model_id=model))
            delay = profiles["cartesia"].delay("models", model, "first_audio")
            spread = np.log(stream.of(type="chunk")[0]["t_s"] - delay.min_s)
            q = [np.log(delay.quantile(p) - delay.min_s) for p in (0.25, 0.75)]
            got.append(float((spread - q[0]) / (q[1] - q[0])))
        return got

    a, b = ranks()
    assert a == pytest.approx(b, abs=0.02)


# -- the rest of the protocol ----------------------------------------------------------------------


def test_two_contexts_at_once(run: Run, cartesia: CartesiaEmulator) -> None:
    end = {"continue": False}
    stream = talk(run, cartesia, body(ONE, **end), body(TWO, context_id="c2", **end))
    assert {m["context_id"] for m in stream.of(type="done")} == {"c1", "c2"}
    kinds = [m["context_id"] for m in stream.of(type="chunk")]
    assert kinds.index("c2") < len(kinds) - 1 - kinds[::-1].index("c1")  # side by side


def test_cancel_stops_only_what_has_not_begun(run: Run, cartesia: CartesiaEmulator) -> None:
    whole = talk(run, cartesia, body(ONE, **{"continue": False}))
    cut = talk(run, cartesia, body(ONE), body(TWO), 0.5, {"context_id": "c1", "cancel": True})
    assert abs(len(pcm(cut)) - len(pcm(whole))) < RATE * 0.3
    assert cut.of(type="done")


@pytest.mark.parametrize("known", [True, False])
def test_a_cancelled_context_is_done_whether_it_speaks_or_not(
    run: Run, cartesia: CartesiaEmulator, known: bool
) -> None:
    said = [body(ONE), 3.0] if known else []  # it has expired by then
    stream = talk(run, cartesia, *said, {"context_id": "c1", "cancel": True})
    (done,) = stream.of(type="done")
    assert (done["done"], done["context_id"]) == (True, "c1")


def test_the_latest_model_is_an_alias(run: Run, cartesia: CartesiaEmulator) -> None:
    whole = talk(run, cartesia, body(ONE, model_id="sonic-latest", **{"continue": False}))
    assert len(pcm(whole)) > RATE


@pytest.mark.parametrize("encoding", ["pcm_mulaw", "pcm_alaw"])
def test_companded_audio_has_a_byte_per_sample(
    run: Run, cartesia: CartesiaEmulator, encoding: str
) -> None:
    form = {"container": "raw", "encoding": encoding, "sample_rate": RATE}
    stream = talk(run, cartesia, body(ONE, output_format=form, **{"continue": False}))
    cartesia.reset()
    straight = pcm(talk(run, cartesia, body(ONE, **{"continue": False})))
    data = b"".join(base64.b64decode(m["data"]) for m in stream.of(type="chunk"))
    assert len(data) == len(straight)
    samples = np.arange(-32768, 32768)
    sound = Options("sonic-3", RATE, encoding).coder().code(samples.astype(np.int16))
    codes = np.frombuffer(sound, np.uint8)
    assert len(np.unique(codes)) >= 255
    for code in np.unique(codes):
        alike = samples[codes == code]
        assert np.ptp(alike) <= max(np.abs(alike).max() / 12, 16), "finer where softer"


def test_a_long_text_is_spoken_in_pieces(run: Run, cartesia: CartesiaEmulator) -> None:
    text = "one two three four. " * 100
    assert len(in_pieces(text)) > 5 and "".join(in_pieces(text)) == text.rstrip() + " "
    assert in_pieces("x" * 1000) and max(map(len, in_pieces("x" * 1000))) <= 250
    stream = talk(run, cartesia, body(text, **{"continue": False}), wait_s=90.0)
    words = [w for m in stream.of(type="timestamps") for w in m["word_timestamps"]["words"]]
    assert len(words) == 400


def test_messages_of_the_wrong_kind_get_an_error_each(run: Run, cartesia: CartesiaEmulator) -> None:
    wrong: list[Any] = [
        [],
        body(ONE, context_id={}),
        body(ONE) | {"transcript": 7},
        body("x" * 20_001),
        body(ONE, output_format="raw"),
        body(ONE, voice=7),
    ]
    codes = [m["error_code"] for m in talk(run, cartesia, *wrong).of(type="error")]
    assert codes == [
        "invalid_json",
        "invalid_context_id",
        "invalid_transcript",
        "invalid_transcript",
        "invalid_output_format",
        "voice_not_found",
    ]


def test_flush(run: Run, cartesia: CartesiaEmulator) -> None:
    stream = talk(run, cartesia, body(ONE, flush=True), body(TWO, **{"continue": False}))
    (flush,) = stream.of(type="flush_done")
    assert flush["flush_id"] == 1
    assert flush["flush_done"] is True
    assert flush["done"] is False
    chunks = [m["t_s"] for m in stream.of(type="chunk")]
    assert chunks[0] < flush["t_s"] < chunks[-1]


def test_buffering_waits_for_more_text(run: Run, cartesia: CartesiaEmulator) -> None:
    stream = talk(run, cartesia, body("Your appointment ", max_buffer_delay_ms=1000))
    assert stream.of(type="chunk")[0]["t_s"] > 1.09
    stream = talk(run, cartesia, body(ONE, max_buffer_delay_ms=1000))
    assert stream.of(type="chunk")[0]["t_s"] < 1.0


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model_id": "sonic-99"}, 400, "model_not_found"),
        ({"voice": {"mode": "id", "id": "nobody"}}, 400, "voice_not_found"),
        (
            {"output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 1}},
            400,
            "invalid_output_format",
        ),
        ({"max_buffer_delay_ms": 9000}, 400, "invalid_max_buffer_delay_ms"),
    ],
)
def test_errors_on_the_socket(
    run: Run, cartesia: CartesiaEmulator, change: dict[str, Any], status: int, code: str
) -> None:
    stream = talk(run, cartesia, body(ONE, **change), body(TWO, context_id="c2"))
    (error,) = stream.of(type="error")
    assert (error["status_code"], error["error_code"]) == (status, code)
    assert error["done"] is True
    assert error["context_id"] == "c1"
    assert error["title"]
    assert error["message"]
    assert stream.of(type="chunk", context_id="c2")  # the socket lives on


def test_too_many_contexts(run: Run, cartesia: CartesiaEmulator) -> None:
    stream = talk(run, cartesia, *[body(ONE, context_id=f"c{i}") for i in range(16)])
    (error,) = stream.of(type="error")
    assert error["status_code"] == 429
    assert error["error_code"] == "concurrency_limited"
    assert error["context_id"] == "c15"
    assert cartesia.slots.held("k") == 0  # all given back


def test_an_unread_utterance_goes_on_until_the_socket_closes(
    run: Run, cartesia: CartesiaEmulator, scene: Scene
) -> None:
    talk(run, cartesia, body(ONE * 20), wait_s=0.5)
    (cut,) = rows(scene, AudioCut)
    assert 0 < cut.audio_s < 10
    assert cartesia.slots.held("k") == 0


def test_an_idle_socket_is_closed_after_five_minutes(run: Run, cartesia: CartesiaEmulator) -> None:
    async def main() -> float:
        async with socket(cartesia) as stream:
            await asyncio.sleep(200)
            await stream.ws.send_json(body(ONE, **{"continue": False}))
            await stream.end()
            return stream.loop.time() - stream.began_s

    assert 500 <= run(main()) < 505


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"X-API-Key": "wrong"}, {"cartesia_version": VERSION}, 401),
        ({}, {"cartesia_version": VERSION}, 401),
        (KEY, {}, 400),
    ],
)
def test_refused_upgrades(
    run: Run,
    cartesia: CartesiaEmulator,
    headers: dict[str, str],
    query: dict[str, str],
    status: int,
) -> None:
    async def main() -> None:
        async with listening(cartesia) as port, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}{PATH}"
            async with session.get(url, headers=headers, params=query) as answer:
                assert answer.status == status
                assert ": " in await answer.text()

    run(main())


def test_newer_versions_get_structured_errors(run: Run, cartesia: CartesiaEmulator) -> None:
    async def main() -> dict[str, Any]:
        async with listening(cartesia) as port, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}/tts/bytes"
            head = KEY | {"Cartesia-Version": "2026-03-01"}
            async with session.post(url, headers=head, json=body(ONE, model_id="x")) as answer:
                assert answer.status == 400
                return dict(await answer.json())

    error = run(main())
    assert set(error) == {"error_code", "title", "message", "request_id"}


@pytest.mark.parametrize("container", ["raw", "wav"])
def test_bytes(run: Run, cartesia: CartesiaEmulator, container: str) -> None:
    async def main() -> tuple[bytes, float]:
        async with listening(cartesia) as port, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}/tts/bytes"
            form = {"container": container, "encoding": "pcm_s16le", "sample_rate": RATE}
            began_s = asyncio.get_running_loop().time()
            head = KEY | {"Cartesia-Version": VERSION}
            async with session.post(url, headers=head, json=body(ONE, output_format=form)) as got:
                assert got.status == 200
                first_s = asyncio.get_running_loop().time() - began_s
                return await got.read(), first_s

    data, first_s = run(main())
    assert 0.09 <= first_s <= 1.0
    if container == "wav":
        with wave.open(io.BytesIO(data)) as f:
            assert f.getframerate() == RATE
            data = f.readframes(f.getnframes())
    assert len(data) / 2 / RATE == pytest.approx(len(ONE) / 15, rel=0.4)


# -- the voice -------------------------------------------------------------------------------------


def test_hum_is_speech_like_and_always_the_same() -> None:
    sound = hum("Yes, of course. I will look that up for you.", RATE)
    assert (sound.pcm == hum("Yes, of course. I will look that up for you.", RATE).pcm).all()
    assert 2.0 < sound.duration_s < 4.5
    assert 6000 < np.abs(sound.pcm).max() < 32000
    yes, of = sound.words[0], sound.words[1]
    assert of.start_s - yes.end_s > 0.12
    between = sound.pcm[int(yes.end_s * RATE) + 2 : int(of.start_s * RATE) - 2]
    assert not between.any()
    assert len(hum("Yes, of course.", 8000).pcm) == pytest.approx(
        len(hum("Yes, of course.", RATE).pcm) / 3, abs=2
    )


@dataclass
class Clip:
    pcm: Any
    words: list[Word]


def test_corpus_sentences_sound_as_recorded() -> None:
    ramp = np.arange(-6000, 6000, dtype=np.int16)
    clip = Clip(ramp, [Word("nine", 0.0, 0.2), Word("thirty", 0.2, 0.5)])
    asked = []

    def look_up(text: str) -> Clip | None:
        asked.append(text)
        return clip if text == "9 30." else None

    voice = Voice(look_up)
    assert (voice.say(" <emotion value='calm'/>9  30. ", RATE).pcm == ramp).all()
    assert [w.text for w in voice.say("9 30.", RATE).words] == ["9", "30."]
    assert len(voice.say("9 30.", 16000).pcm) == 8000
    assert voice.say("Something else.", RATE).words[-1].text == "else."
    assert asked == ["9 30.", "9 30.", "Something else."]  # remembered per rate


# -- the true clients ------------------------------------------------------------------------------


def test_livekit_plugin_streams_on_one_pooled_socket(
    run: Run, cartesia: CartesiaEmulator, scene: Scene
) -> None:
    from livekit.plugins import cartesia as plugin

    async def main() -> list[tuple[float, list[str]]]:
        async with listening(cartesia) as port, aiohttp.ClientSession() as session:
            base_url = f"http://127.0.0.1:{port}"
            tts = plugin.TTS(api_key="k", base_url=base_url, http_session=session)
            spoken = []
            for _ in range(2):
                stream = tts.stream()
                for word in (ONE + TWO).split(" "):
                    stream.push_text(word + " ")
                    await asyncio.sleep(0.02)
                stream.end_input()
                seconds, words = 0.0, []
                async for audio in stream:
                    seconds += audio.frame.duration
                    words += [str(w) for w in audio.frame.userdata.get("lk.timed_transcripts", [])]
                spoken.append((seconds, words))
                await stream.aclose()
            await tts.aclose()
            return spoken

    for seconds, words in run(main()):
        assert seconds == pytest.approx(len(ONE + TWO) / 15, rel=0.4)
        # the plugin drops the blank between two sentences that are sent one after the other
        assert "".join("".join(words).split()) == "".join((ONE + TWO).split())
    assert len(rows(scene, Connected)) == 1
    assert len(rows(scene, AudioDone)) == 2


def test_livekit_plugin_bytes(run: Run, cartesia: CartesiaEmulator) -> None:
    from livekit.plugins import cartesia as plugin

    async def main() -> float:
        async with listening(cartesia) as port, aiohttp.ClientSession() as session:
            base_url = f"http://127.0.0.1:{port}"
            tts = plugin.TTS(api_key="k", base_url=base_url, http_session=session)
            seconds = 0.0
            async for audio in tts.synthesize(ONE):
                seconds += audio.frame.duration
            await tts.aclose()
            return seconds

    assert run(main()) == pytest.approx(len(ONE) / 15, rel=0.4)


def test_livekit_plugin_sees_the_true_errors(run: Run, cartesia: CartesiaEmulator) -> None:
    from livekit.agents import APIError, APIStatusError
    from livekit.plugins import cartesia as plugin

    async def main(key: str, model: str) -> None:
        async with listening(cartesia) as port, aiohttp.ClientSession() as session:
            base_url = f"http://127.0.0.1:{port}"
            tts = plugin.TTS(api_key=key, base_url=base_url, model=model, http_session=session)
            stream = tts.stream()
            stream.push_text(ONE)
            stream.end_input()
            try:
                async for _ in stream:
                    pass
            finally:
                await stream.aclose()
                await tts.aclose()

    with pytest.raises(APIStatusError) as refused:
        run(main("wrong", "sonic-3"))
    assert refused.value.status_code == 401
    with pytest.raises(APIError, match="no audio frames"):  # a done error looks like an end
        run(main("k", "sonic-99"))


def test_official_client(cartesia: CartesiaEmulator) -> None:
    """Cartesia's own Python client speaks over both endpoints, in real time."""
    sdk = pytest.importorskip("cartesia", reason="the cartesia client is not installed")
    form = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE}
    common = {"model_id": "sonic-3", "voice": {"mode": "id", "id": VOICE}, "output_format": form}

    async def main() -> tuple[bytes, bytes]:
        async with listening(cartesia) as port:
            url = f"http://127.0.0.1:{port}"
            client = sdk.AsyncCartesia(
                api_key="k", base_url=url, websocket_base_url=url.replace("http", "ws")
            )
            answer = await client.tts.generate(transcript=ONE, **common)
            whole = await answer.read()
            streamed = b""
            async with client.tts.websocket_connect() as connection:
                context = connection.context(**common)
                for part in ("Your appointment ", "is on Tuesday at nine."):
                    await context.push(part)
                await context.no_more_inputs()
                async for message in context.receive():
                    if message.type == "chunk":
                        streamed += message.audio
            await client.close()
            return whole, streamed

    whole, streamed = asyncio.run(main())
    assert len(whole) == pytest.approx(len(streamed), abs=RATE)
    assert len(whole) / 2 / RATE == pytest.approx(len(ONE) / 15, rel=0.4)
