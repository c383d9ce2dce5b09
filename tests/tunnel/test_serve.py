"""``labkit serve`` as another program meets it: the providers' own clients, over real sockets."""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import re
import signal
import socket
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from labkit.providers.registry import PROVIDERS
from labkit.world.speech import SpeechCorpus
from labkit.world.turn import normalise

KEY = "a-key"
TOOTHACHE = "Hello, I've had a toothache since last night."
LABKIT = [sys.executable, "-m", "labkit", "serve"]


@contextmanager
def served(*words: str) -> Iterator[tuple[dict[str, int], subprocess.Popen[str]]]:
    """The command in a process of its own, and the ports it names."""
    process = subprocess.Popen(
        [*LABKIT, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        ports: dict[str, int] = {}
        for line in process.stdout:
            found = re.match(r"(\w+) +base_url=http://127\.0\.0\.1:(\d+)", line)
            if not found:
                break
            ports[found[1]] = int(found[2])
        assert ports, process.communicate()[1]
        yield ports, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with served("--port", "0", "--key", KEY) as (ports, _):
        assert set(ports) == set(PROVIDERS)
        yield ports


def test_deepgrams_client_is_understood_when_it_plays_the_corpus(ports: dict[str, int]) -> None:
    sdk = pytest.importorskip("deepgram")
    from deepgram.core.events import EventType
    from deepgram.environment import DeepgramClientEnvironment as Environment

    at = f"127.0.0.1:{ports['deepgram']}"
    names = [n for n in inspect.signature(Environment).parameters if n != "self"]
    http = ("base", "agent_rest")
    environment = Environment(**{n: f"{'http' if n in http else 'ws'}://{at}" for n in names})
    corpus = SpeechCorpus.load()
    voice = corpus.dialogue_voices("dental_appointment")[0]
    clip = corpus.clip(dialogue="dental_appointment", turn="opening", voice=voice)
    sound = clip.pcm.tobytes() + bytes(2 * 16000)

    async def transcript(sound: bytes) -> tuple[str, str]:
        client = sdk.AsyncDeepgramClient(api_key=KEY, environment=environment)
        got: list[Any] = []
        async with client.listen.v1.connect(
            model="nova-3", encoding="linear16", sample_rate=16000, punctuate=True
        ) as connection:
            connection.on(EventType.MESSAGE, got.append)
            reading = asyncio.create_task(connection.start_listening())
            for i in range(0, len(sound), 3200):
                await connection.send_media(sound[i : i + 3200])
            await connection.send_close_stream()
            await asyncio.wait_for(reading, 10)
        finals = [m.channel.alternatives[0].transcript for m in got if m.type == "Results"]
        return " ".join(t for t in finals if t), got[-1].type

    heard, last = asyncio.run(transcript(sound))
    said = normalise(clip.text).split()
    assert len(set(said) & set(normalise(heard).split())) >= 0.8 * len(set(said)), heard
    assert last == "Metadata"
    backwards = clip.pcm[::-1].tobytes()
    assert asyncio.run(transcript(backwards)) == ("", "Metadata"), "no words in any other sound"


def test_cartesias_client_gets_a_stream_of_audio(ports: dict[str, int]) -> None:
    sdk = pytest.importorskip("cartesia")
    at = f"127.0.0.1:{ports['cartesia']}"

    async def main() -> bytes:
        client = sdk.AsyncCartesia(
            api_key=KEY, base_url=f"http://{at}", websocket_base_url=f"ws://{at}"
        )
        audio = b""
        async with client.tts.websocket_connect() as connection:
            context = connection.context(
                model_id="sonic-3",
                voice={"mode": "id", "id": "f786b574-daa5-4673-aa0c-cbe3e8534c02"},
                output_format={
                    "container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000
                },
            )  # fmt: skip
            await context.push("We are closed on Saturday.")
            await context.no_more_inputs()
            async for message in context.receive():
                if message.type == "chunk":
                    audio += message.audio
        await client.close()
        return audio

    assert 0.5 < len(asyncio.run(main())) / 2 / 24000 < 5


def test_openais_client_streams_an_answer(ports: dict[str, int]) -> None:
    sdk = pytest.importorskip("openai")

    async def main() -> tuple[str, Any]:
        url = f"http://127.0.0.1:{ports['openai']}/v1"
        async with sdk.AsyncOpenAI(api_key=KEY, base_url=url) as client:
            stream = await client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": TOOTHACHE}],
                stream=True,
                stream_options={"include_usage": True},
            )
            text, usage = "", None
            async for chunk in stream:
                text += "".join(c.delta.content or "" for c in chunk.choices)
                usage = chunk.usage or usage
            return text, usage

    text, usage = asyncio.run(main())
    assert text.startswith("I'm sorry, that sounds painful.")
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0


def test_anthropics_client_streams_an_answer(ports: dict[str, int]) -> None:
    sdk = pytest.importorskip("anthropic")

    async def main() -> Any:
        url = f"http://127.0.0.1:{ports['anthropic']}"
        async with (
            sdk.AsyncAnthropic(api_key=KEY, base_url=url) as client,
            client.messages.stream(
                model="claude-haiku-4-5",
                max_tokens=200,
                messages=[{"role": "user", "content": TOOTHACHE}],
            ) as stream,
        ):
            return await stream.get_final_message()

    message = asyncio.run(main())
    assert message.content[0].text.startswith("I'm sorry, that sounds painful.")
    assert message.stop_reason == "end_turn" and message.usage.output_tokens > 0


def test_another_key_is_turned_away(ports: dict[str, int]) -> None:
    sdk = pytest.importorskip("openai")

    async def main() -> None:
        url = f"http://127.0.0.1:{ports['openai']}/v1"
        async with sdk.AsyncOpenAI(api_key="other", base_url=url, max_retries=0) as client:
            await client.models.list()

    with pytest.raises(sdk.AuthenticationError):
        asyncio.run(main())


def test_the_lines_it_prints_point_each_official_client_at_it() -> None:
    process = subprocess.Popen(
        [*LABKIT, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        told = [line.strip() for line in iter(process.stdout.readline, "Ctrl-C ends it\n")]
        lines = [line for line in told if re.match(r"\w+\.\w+\(", line)]
        clients = {}
        for line in lines:
            module = line.partition(".")[0]
            names = {module: pytest.importorskip(module)}
            exec(f"import {module}.environment", names) if module == "deepgram" else None
            clients[module] = eval(line, names)
        message = [{"role": "user", "content": TOOTHACHE}]
        chat = clients["openai"].chat.completions.create(model="gpt-4o-mini", messages=message)
        assert chat.choices[0].message.content
        told_back = clients["anthropic"].messages.create(
            model="claude-haiku-4-5", max_tokens=20, messages=message
        )
        assert told_back.content[0].text
        voice = {"mode": "id", "id": "f786b574-daa5-4673-aa0c-cbe3e8534c02"}
        form = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000}
        sound = clients["cartesia"].tts.generate(
            model_id="sonic-3", transcript="Hello.", voice=voice, output_format=form
        )
        assert len(sound.read()) > 10_000
        wav = io.BytesIO()
        with wave.open(wav, "wb") as f:
            f.setparams((1, 2, 16000, 0, "NONE", ""))
            f.writeframes(bytes(32000))
        heard = clients["deepgram"].listen.v1.media.transcribe_file(
            request=wav.getvalue(), model="nova-3"
        )
        assert heard.results.channels[0].alternatives[0].transcript == ""
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_ctrl_c_ends_it_quietly() -> None:
    with served("--port", "0") as (_, process):
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 0 and err == "", err


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*LABKIT, "--port", str(port)], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"port={port}" in done.stderr and "or 0 for any free ones" in done.stderr
