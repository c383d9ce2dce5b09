"""LiveKit Inference: its own clients stream, fail, fall back and come back."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from gateway_stage import WAY_S, gateway, logged, play, reached
from livekit.agents import APIConnectOptions, APIError, APIStatusError, inference
from livekit.agents.inference._utils import create_access_token
from livekit.agents.llm import ChatContext
from stage import HELLO, make_track

from labkit.providers.profile import ProfileError, load_profiles
from labkit.providers.server import listening
from labkit.world.dialogue import load_dialogues
from labkit.world.events import (
    Assumed,
    AudioCut,
    EagerEndOfTurn,
    FirstAudio,
    FirstToken,
    Request,
    Text,
    Transcript,
)
from labkit.world.scene import Scene

Run = Callable[..., Any]
ONCE = APIConnectOptions(max_retry=0, timeout=10.0)
TEXT = " ".join(w[0] for w in HELLO)
VOICE = "9626c31c-bec5-4cca-baa8-f8ba9e84c8bc"


# -- the door --------------------------------------------------------------------------------------


def unsigned(**claims: Any) -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = part(json.dumps({"alg": claims.pop("alg", "HS256")}).encode())
    body = {"iss": "k", "exp": 4e9, "inference": {"perform": True}} | claims
    return ".".join((head, part(json.dumps(body).encode()), part(bytes(32))))


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 200),  # what the SDK signs with any pair of keys
        (unsigned(), 200),  # nobody knows the secret, so the form is all there is to look at
        ("", 401),
        ("k", 401),
        (unsigned(alg="none"), 401),
        (unsigned(iss=""), 401),
        (unsigned(exp=1.0), 401),
        (unsigned(inference={}), 401),
        (unsigned(inference={"perform": False}), 403),
    ],
)
def test_any_pair_of_keys_opens_if_its_token_has_the_form(
    run: Run, hello: Scene, token: str | None, status: int
) -> None:
    if token is None:  # it is good for ten minutes, so not while the tests are collected
        token = create_access_token("any", "pair of keys, as long as it signs.....")

    async def main() -> list[int]:
        headers, got = {"Authorization": f"Bearer {token}"}, []
        async with listening(gateway(hello)) as port, aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/v1/models", headers=headers) as r:
                got.append(r.status)
            for path in ("stt", "tts", "eot", "bargein"):
                try:
                    url = f"http://127.0.0.1:{port}/v1/{path}"
                    async with session.ws_connect(url, headers=headers):
                        got.append(200)
                except aiohttp.WSServerHandshakeError as e:
                    got.append(e.status)
        return got

    assert run(main()) == [status] * 5


# -- language models -------------------------------------------------------------------------------


def chatted(run: Run, scene: Scene, model: str, **figures: Any) -> tuple[str, Any]:
    async def main() -> tuple[str, Any]:
        async with reached(gateway(scene, **figures)) as where:
            where.pop("http_session")
            llm = inference.LLM(model, **where)
            ctx = ChatContext.empty()
            ctx.add_message(role="user", content="Hello there.")
            said, usage = "", None
            try:
                async with llm.chat(chat_ctx=ctx, conn_options=ONCE) as stream:
                    async for chunk in stream:
                        said += (chunk.delta.content or "") if chunk.delta else ""
                        usage = chunk.usage or usage
            finally:
                await llm.aclose()
        return said, usage

    result: tuple[str, Any] = run(main())
    return result


def chat_scene() -> Scene:
    return Scene(seed=3, turn=0, dialogues=load_dialogues())


def test_a_chat_streams_with_its_usage_and_costs_the_way_to_the_model_and_back(run: Run) -> None:
    scene = chat_scene()
    figures = {"models.openai/gpt-4.1.first_token": 0.5, "behind.rtt_s": 0.2}
    said, usage = chatted(run, scene, "openai/gpt-4.1", **figures)
    assert said
    assert usage.completion_tokens > 0
    (asked,), (first,) = logged(scene, Request), logged(scene, FirstToken)
    assert asked.model == "openai/gpt-4.1"
    prefill_s = asked.prompt_tokens / 24_000
    assert first.t_s - asked.t_s == pytest.approx(0.5 + prefill_s, abs=1e-3)  # at the model


def test_a_call_through_the_gateway_sees_the_draws_of_one_past_it(run: Run) -> None:
    from labkit.providers.openai.service import OpenAIEmulator

    scene = chat_scene()
    parts, how = ("first_token",), {"purpose": "first_token", "key": ("reply", 0)}
    direct = OpenAIEmulator(load_profiles()["openai"], lambda: scene)
    behind = gateway(scene)._parts[0]  # type: ignore[attr-defined]
    assert behind.draw("models", "openai/gpt-4.1", *parts, **how) == pytest.approx(
        direct.draw("models", "gpt-4.1", *parts, **how) + 2 * WAY_S
    )


def test_an_unknown_model_has_the_nearest_ones_figures_and_says_so(run: Run) -> None:
    scene = chat_scene()
    assert chatted(run, scene, "openai/gpt-4.2-mini")[0]
    assert {e.text for e in logged(scene, Assumed)} == {
        "openai/gpt-4.2-mini has no figures of its own here: it has openai/gpt-4.1-mini's"
    }
    assert logged(scene, Request)[0].model == "openai/gpt-4.1-mini"


@pytest.mark.parametrize(
    ("model", "figures", "status"),
    [
        ("nobody/gpt-4.1", {}, 404),
        ("openai/gpt-4.1", {"limits.unavailable": "openai/gpt-4.1"}, 503),
        ("openai/gpt-4.1", {"limits.rpm": 0}, 429),
    ],
)
def test_a_chat_that_is_refused(
    run: Run, model: str, figures: dict[str, Any], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(APIStatusError) as refused:
        chatted(run, chat_scene(), model, **figures)
    assert refused.value.status_code == status
    if status == 429:  # the client logs what the gateway tells of the quota
        quota = next(r for r in caplog.records if "rate limited" in r.message)
        assert (quota.rpm_limit, quota.rpm_used) == ("0", "0")  # type: ignore[attr-defined]


# -- speech recognition ----------------------------------------------------------------------------


def heard(
    run: Run, scene: Scene, model: str, figures: dict[str, Any] | None = None, **options: Any
) -> list[Any]:
    """The client's events with their times, for the scene's track and two more seconds."""

    async def main() -> list[Any]:
        loop, got = asyncio.get_running_loop(), []
        async with reached(gateway(scene, **(figures or {}))) as where:
            stt = inference.STT(model, **where, **options)
            stream = stt.stream(conn_options=ONCE)

            async def listen() -> None:
                async for event in stream:
                    got.append((loop.time() - began_s, event))

            began_s = loop.time()
            reader = asyncio.create_task(listen())
            await asyncio.sleep(0.5)  # the socket opens
            began_s = loop.time()
            with contextlib.suppress(RuntimeError):  # the stream has failed: the reader knows why
                await play(stream.push_frame, bytes(scene.track.pcm))
                stream.end_input()
            try:
                await reader
            finally:
                await stt.aclose()
        return got

    found: list[Any] = run(main())
    return found


def of(events: list[Any], kind: str) -> list[tuple[float, Any]]:
    return [(t, e.alternatives[0]) for t, e in events if e.type.value == kind]


def test_a_segment_model_sends_what_it_closes_as_finals(run: Run) -> None:
    words = [*HELLO, ("And", 3.6, 3.9), ("thanks.", 3.9, 4.4)]
    scene = Scene(seed=3, turn=0, track=make_track(words, 6.0))
    events = heard(run, scene, "deepgram/nova-3", language="en")
    finals = of(events, "final_transcript")
    assert len(finals) >= 2
    assert " ".join(f.text for _, f in finals) == f"{TEXT} And thanks."
    assert [w.strip() for w in finals[0][1].words] == finals[0][1].text.split()
    assert not of(events, "preflight_transcript")
    assert sum(e.type.value == "end_of_speech" for _, e in events) == len(finals)
    told = logged(scene, Transcript)
    seen_s = [t for t, _ in finals]
    assert all(e.text for e in told)
    # the log has the model's moments, the client those at the gateway
    began_s = told[0].t_s + WAY_S - seen_s[0]
    assert [e.t_s + WAY_S - began_s for e in told] == pytest.approx(seen_s, abs=2e-3)


def test_flux_announces_the_end_of_the_turn_and_sends_one_final(run: Run, hello: Scene) -> None:
    events = heard(run, hello, "deepgram/flux-general-en")
    (final,) = of(events, "final_transcript")
    flights = of(events, "preflight_transcript")
    assert final[1].text == flights[-1][1].text == TEXT
    assert flights[-1][0] < final[0]
    assert logged(hello, EagerEndOfTurn)


@pytest.mark.parametrize(
    ("last", "extra", "silence_s"),
    [
        ("appointment.", {}, 0.1),
        ("appointment", {}, 1.0),
        ("appointment", {"max_turn_silence": 400}, 0.4),
        ("appointment.", {"min_turn_silence": 300}, 0.3),
    ],
)
def test_assemblyai_waits_for_words_that_end_no_sentence(
    run: Run, last: str, extra: dict[str, Any], silence_s: float
) -> None:
    words = [*HELLO[:-1], (last, *HELLO[-1][1:])]
    scene = Scene(seed=3, turn=0, track=make_track(words, 5.0))
    figures = {
        "stt.models.assemblyai/universal-3-6-pro.event": 0.1,
        "stt.upgrade.server": 0.05,
    }
    model = "assemblyai/universal-3-6-pro"
    events = heard(run, scene, model, figures, extra_kwargs=extra)
    ((final_s, final),) = of(events, "final_transcript")
    assert final.text.endswith(last)
    assert final_s == pytest.approx(2.7 + silence_s + 0.1 + 2 * WAY_S, abs=0.052)
    flights = [f for f in of(events, "preflight_transcript") if f[1].text == final.text]
    assert bool(flights) is (last == "appointment")
    if flights:
        assert flights[0][0] == pytest.approx(2.7 + 0.1 + 0.1 + 2 * WAY_S, abs=0.052)


def test_recognition_falls_back_to_a_model_that_answers(run: Run, hello: Scene) -> None:
    figures = {"stt.limits.unavailable": "assemblyai/u3-rt-pro"}
    fallback = ["nobody/ears", "deepgram/flux-general-en"]
    events = heard(run, hello, "assemblyai/u3-rt-pro", figures, fallback=fallback)
    assert of(events, "final_transcript")[0][1].text == TEXT
    with pytest.raises(APIError):
        heard(run, hello, "assemblyai/u3-rt-pro", figures)


def test_recognition_of_an_unknown_provider_is_refused(run: Run, hello: Scene) -> None:
    with pytest.raises(APIError):
        heard(run, hello, "nobody/ears")


def test_a_session_changes_while_it_goes_on_and_closes_as_asked(run: Run, hello: Scene) -> None:
    """By hand, since the client hides what it is told."""

    async def main() -> list[dict[str, Any]]:
        async with reached(gateway(hello)) as where:
            token = create_access_token(where["api_key"], where["api_secret"])
            headers = {"Authorization": f"Bearer {token}"}
            url = f"{where['base_url']}/stt?model=deepgram%2Fflux-general-en"
            async with where["http_session"].ws_connect(url, headers=headers) as ws:
                settings = {"sample_rate": "16000", "encoding": "pcm_s16le", "extra": {}}
                await ws.send_json({"type": "session.create", "settings": settings})
                got = [await ws.receive_json()]
                for extra in ({"eot_threshold": 0.8}, {"eot_threshold": 2.0}):
                    update = {"type": "session.update", "settings": {"extra": extra}}
                    await ws.send_json({"type": "session.finalize"})
                    got.append(await ws.receive_json())
                    await ws.send_json(update)
                got.append(await ws.receive_json())
                await ws.receive()
                assert ws.close_code == 1008
        return got

    created, *finalized, error = run(main())
    assert created == {"type": "session.created"}
    assert finalized == [{"type": "session.finalized"}] * 2
    assert (error["type"], error["code"]) == ("error", 400)
    assert "eot_threshold" in error["message"]


# -- speech ----------------------------------------------------------------------------------------


async def spoken(stream: Any, *texts: str) -> int:
    """Bytes of audio for some texts."""
    for text in texts:
        stream.push_text(text)
    stream.end_input()
    return sum([len(event.frame.data) * 2 async for event in stream])


def test_speech_reuses_its_socket_and_opens_another_after_an_interruption(
    run: Run, hello: Scene
) -> None:
    async def main() -> None:
        async with reached(gateway(hello)) as where:
            tts = inference.TTS("cartesia/sonic-3", voice=VOICE, **where)
            for sentence in ("Good morning to you. How are you?", "Fine, thank you very much."):
                assert await spoken(tts.stream(conn_options=ONCE), sentence) > 24_000
            cut = tts.stream(conn_options=ONCE)
            cut.push_text("This is a long sentence that nobody wants to hear to its very end. ")
            cut.push_text("And so on. ")
            cut.flush()
            await anext(cut)
            await cut.aclose()
            assert await spoken(tts.stream(conn_options=ONCE), "Yes?") > 5_000
            await tts.aclose()

    run(main())
    texts, firsts = logged(hello, Text), logged(hello, FirstAudio)
    sockets = list(dict.fromkeys(t.context.rpartition(".")[0] for t in texts))
    contexts = list(dict.fromkeys(t.context for t in texts))
    assert [c.rpartition(".")[0] == sockets[0] for c in contexts] == [True, True, True, False]
    assert len(firsts) == 4
    assert logged(hello, AudioCut)
    text, first = texts[0], firsts[0]
    delay = (
        load_profiles()["livekit"].of_role("tts").delay("models", "cartesia/sonic-3", "first_audio")
    )
    assert delay.min_s < first.t_s - text.t_s < delay.quantile(0.9999)


@pytest.mark.parametrize("model", ["cartesia/sonic-3", "inworld/inworld-tts-2"])
def test_words_come_with_their_blanks(run: Run, hello: Scene, model: str) -> None:
    async def main() -> str:
        options = {"add_timestamps": True, "timestamp_type": "WORD"}
        async with reached(gateway(hello)) as where:
            tts = inference.TTS(model, extra_kwargs=options, **where)
            stream, words = tts.stream(conn_options=ONCE), []
            stream.push_text("Good morning to you.")
            stream.end_input()
            async for event in stream:
                words += event.frame.userdata.get("lk.timed_transcripts", [])
            await tts.aclose()
        return "".join(words)

    assert run(main()) == "Good morning to you. "


@pytest.mark.parametrize("model", ["nobody/voice", "fishaudio/s2.1-pro"])
def test_speech_that_is_refused_is_an_error(run: Run, hello: Scene, model: str) -> None:
    async def main() -> None:
        figures = {"tts.limits.unavailable": "fishaudio/s2.1-pro"}
        async with reached(gateway(hello, **figures)) as where:
            tts = inference.TTS(model, **where)
            try:
                await spoken(tts.stream(conn_options=ONCE), "Hello there.")
            finally:
                await tts.aclose()

    with pytest.raises(APIError):
        run(main())


def test_speech_falls_back_to_a_model_that_answers(run: Run, hello: Scene) -> None:
    async def main() -> int:
        figures = {"tts.limits.unavailable": "fishaudio/s2.1-pro"}
        fallback: Any = [{"model": "cartesia/sonic-3", "voice": VOICE}]
        async with reached(gateway(hello, **figures)) as where:
            tts = inference.TTS("fishaudio/s2.1-pro", fallback=fallback, **where)
            size = await spoken(tts.stream(conn_options=ONCE), "Hello there.")
            await tts.aclose()
        return size

    assert run(main()) > 5_000
    assert logged(hello, Text)[0].model == "cartesia/sonic-3"


# -- figures that are another profile's ------------------------------------------------------------


def test_a_model_with_a_profile_of_its_own_has_its_figures_and_its_changes() -> None:
    named = {
        "openai.models.gpt-4.1.first_token": 0.2,
        "livekit.models.openai/gpt-4o.first_token": 0.3,
    }
    before, after = load_profiles(), load_profiles(None, named)
    parts = ("models", "openai/gpt-4.1", "first_token")
    assert before["livekit"].delay(*parts) == before["openai"].delay(
        "models", "gpt-4.1", "first_token"
    )
    assert after["livekit"].delay(*parts).quantile(0.9) == 0.2
    assert after["livekit"].delay("models", "openai/gpt-4o", "first_token").quantile(0.9) == 0.3
    assert after["openai"].delay("models", "gpt-4o", "first_token").quantile(0.9) != 0.3


def test_a_reference_to_nothing_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from labkit.providers import profile

    path = tmp_path / "odd.toml"
    path.write_text('[models.one]\nsame_as = ["openai", "models", "gpt-0"]\n')
    packaged = profile._files
    monkeypatch.setattr(profile, "_files", lambda: [*packaged(), path])
    with pytest.raises(ProfileError, match=r"odd\.models\.one\.same_as.*there is no 'gpt-0'"):
        load_profiles(None, {"openai.models.gpt-4.1.first_token": 0.123})


def test_what_lies_behind_the_gateway_is_changed_for_all_its_parts() -> None:
    gateway = load_profiles(None, {"livekit.behind.rtt_s": 0.2})["livekit"]
    parts = [gateway, *(gateway.of_role(role) for role in ("stt", "tts", "turns"))]
    assert [part.value("behind", "rtt_s") for part in parts] == [0.2] * 4


def test_a_model_changed_at_the_gateway_is_not_changed_at_its_provider() -> None:
    name = "livekit.models.openai/gpt-4.1.first_token"
    changed, usual = load_profiles(None, {name: 9.0}), load_profiles()
    place = ("models", "gpt-4.1", "first_token")
    assert changed["openai"].delay(*place) == usual["openai"].delay(*place)
    assert changed["livekit"].delay("models", "openai/gpt-4.1", "first_token").median_s == 9.0
