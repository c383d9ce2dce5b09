"""Agents that do what they should not: each is told of as what it is, and touches no other."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.doctor import hermetic
from labkit.engine.experiment import Arm, Experiment
from labkit.engine.run import run
from labkit.engine.sweep import sweep
from labkit.engine.tables import Results
from labkit.errors import UsageError

pytestmark = pytest.mark.slow

AGENT = """
import asyncio, ctypes, logging, os, socket, subprocess, sys, threading, time
from livekit import rtc
from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli
from livekit.plugins import cartesia, deepgram, openai, silero
import counter
counter.n += 1
TOP
class Mine(Agent):
    def __init__(self):
        super().__init__(instructions="You are a helpful agent.")
    async def on_user_turn_completed(self, chat_ctx, new_message):
        logging.getLogger("mine").info("n", extra={"turn": {"n": counter.n}})
        HOOK
    METHOD

async def entrypoint(ctx: JobContext):
    await ctx.connect()
    session = AgentSession(
        stt=deepgram.STT(), llm=openai.LLM(), tts=cartesia.TTS(), vad=silero.VAD.load()
    )
    ENTRY
    await session.start(agent=Mine(), room=ctx.room)
    AFTER

if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
"""


def write(folder: Path, name: str, **parts: str) -> Path:
    """An agent file with some lines put in; each begins at the indentation of its place."""
    code = AGENT
    for place in ("TOP", "HOOK", "METHOD", "ENTRY", "AFTER"):
        code = code.replace(place, parts.get(place.lower(), "" if place == "TOP" else "pass"))
    (folder / "counter.py").write_text("n = 0\n")
    (folder / f"{name}.py").write_text(code)
    return folder / f"{name}.py"


TASK = """async def late():
        await asyncio.sleep(1)
        raise LookupError("in a task")
    kept.append(asyncio.create_task(late()))"""
THREAD = """def beside():
        raise LookupError("in a thread")
    threading.Thread(target=beside).start()"""
PATCH = """_sleep = asyncio.sleep
async def slow(delay, *more):
    return await _sleep(2 * delay, *more)
asyncio.sleep = slow
import livekit.agents.voice.agent_activity as _activity
_activity.asyncio.sleep = slow"""
FLOOD = """async def tts_node(self, text, model_settings):
        while True:
            yield rtc.AudioFrame.create(24000, 1, 480)"""

WRONG: dict[str, tuple[dict[str, str], str]] = {
    "exits": ({"entry": "sys.exit(0)"}, "SystemExit: 0 (exits.py:"),
    "exits_later": ({"hook": "sys.exit(4)"}, "SystemExit: 4 (exits_later.py:"),
    "interrupts": ({"hook": "raise KeyboardInterrupt"}, "KeyboardInterrupt (interrupts.py:"),
    "raises": ({"entry": "{}['x']"}, "KeyError: 'x' (raises.py:"),
    "hook": ({"hook": "raise ValueError('no')"}, "ValueError: no (hook.py:"),
    "memory": (
        {"hook": "x = [bytearray(10**9) for _ in range(9)]"}, "MemoryError (memory.py:",
    ),
    "task": ({"top": "kept = []", "after": TASK}, "LookupError: in a task (task.py:"),
    "thread": ({"after": THREAD}, "LookupError: in a thread (thread.py:"),
    "leaves": ({"hook": "os._exit(7)"}, "ended with exit code 7 from inside"),
    "crashes": ({"hook": "ctypes.string_at(0)"}, "ended by SIGSEGV, at crashes.py:"),
    "spins": ({"hook": "while True: pass"}, "than 12 s of real time and was ended, at spins.py:"),
    "sleeps": ({"hook": "while True: time.sleep(0.1)"}, "was ended, at sleeps.py:"),
    "floods": ({"method": FLOOD}, "more than 12 s of real time and was ended"),
    "starts": ({"hook": "subprocess.run(['id'])"}, "refused subprocess.Popen (id)"),
    "forks": ({"hook": "os.fork()"}, "refused os.fork"),
    "looks_up": ({"hook": "socket.gethostbyname('example.com')"}, "no host 'example.com'"),
    "dials": ({"hook": "socket.create_connection(('127.0.0.1', 9))"}, "allow=localhost:9 lets it"),
}  # fmt: skip


LIMITS: dict[str, object] = {"limit.real_s": 12, "limit.memory_mb": 1500}
OWN_LIMITS: dict[str, dict[str, object]] = {"floods": {"limit.memory_mb": 1e6}}
"""Which of the two a flood of audio meets first is up to the machine, unless it is set."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agents")


FLUENT = {"caller.persona": "fluent"}  # others interrupt, and are answered more than once


@pytest.fixture(scope="module")
def together(folder: Path) -> tuple[Results, Results]:
    """A good agent alone, and among all that go wrong and one that patches a shared module."""
    good = str(write(folder, "good"))
    arms = {"before": Arm(good)}
    for name, (parts, _) in WRONG.items():
        if name != "looks_up":  # a wrong host is a usage error: nothing else would be run
            arms[name] = Arm(str(write(folder, name, **parts)), LIMITS | OWN_LIMITS.get(name, {}))
    arms["patches"] = Arm(str(write(folder, "patches", top=PATCH)))
    arms["after"] = Arm(good)
    alone = run(good, calls=1, turns=2, fresh=True, settings=FLUENT)
    every = Experiment(arms, calls=1, turns=2, settings=FLUENT)
    return alone, sweep(every, workers=2, fresh=True)


@pytest.mark.parametrize("name", [n for n in WRONG if n != "looks_up"])
def test_it_is_told_of_as_what_it_is(together: tuple[Results, Results], name: str) -> None:
    troubles = together[1].part(arm=name).troubles
    assert len(troubles) == 1, troubles["error"].tolist()
    assert WRONG[name][1] in troubles["error"].iloc[0]
    assert f"{name}.py" in troubles["replay"].iloc[0]


def test_a_flood_is_bounded_in_memory(folder: Path) -> None:
    """Python meets a MemoryError; a library may end the process, whose size is told then."""
    limits = {"limit.real_s": 60, "limit.memory_mb": 1200}
    results = run(
        str(write(folder, "fills", method=FLOOD)), calls=1, turns=1, settings=limits | FLUENT
    )
    error = results.troubles["error"].iloc[0]
    had = re.search(r"it had up to (\d+) MB of memory", error)
    assert "MemoryError" in error or (had and int(had[1]) < 1500), error


def test_a_blocking_look_up_of_an_unknown_host_is_a_usage_error(folder: Path) -> None:
    parts, said = WRONG["looks_up"]
    with pytest.raises(UsageError, match=said):
        run(str(write(folder, "looks_up", **parts)), calls=1, turns=1, fresh=True)


def test_the_other_arms_are_what_they_are_alone(together: tuple[Results, Results]) -> None:
    alone, mixed = together
    columns = [c for c in alone.turns if c not in ("arm", "settings", "caller.persona")]
    for arm in ("before", "after"):
        own = mixed.part(arm=arm)
        assert own.troubles.empty
        assert own.turns[columns].to_csv() == alone.turns[columns].to_csv()
    assert set(mixed.part(arm="patches").turns["outcome"]) <= {"answered", "missed", "interrupted"}


def test_a_turn_lost_to_an_error_failed_and_was_not_missed(
    together: tuple[Results, Results],
) -> None:
    hook = together[1].part(arm="hook")
    assert list(hook.turns["outcome"]) == ["failed", "failed"]
    assert list(hook.turns["agent_errors"]) == [1, 1]
    assert list(hook.calls["status"]) == ["ok"]


def test_module_globals_begin_afresh_with_every_call(together: tuple[Results, Results]) -> None:
    several = run(together[0].turns["agent"].iloc[0], calls=2, turns=1)
    assert set(several.turns["agent_n"]) == {1}


def test_a_call_with_an_error_in_the_agent_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    agent = str(write(folder, "hook", **WRONG["hook"][0]))
    assert run(agent, calls=1, turns=1).n_known == run(agent, calls=1, turns=1).n_known == 0


def test_the_command_says_it_once_and_keeps_json_clean(folder: Path) -> None:
    agent = write(folder, "prints", entry="print('{')", **WRONG["hook"][0])
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "run", str(agent), "--calls", "2", "--turns", "1",
         "--json", "--fresh"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    (trouble,) = json.loads(done.stdout)["troubles"]
    assert (trouble["n"], trouble["calls"]) == (2, 2)
    said = [line for line in done.stderr.splitlines() if line]
    assert said[:2] == ["{", "{"]
    assert "error in the agent, 2 × in 2 calls: ValueError: no (prints.py:" in said[2]


@pytest.fixture
def service() -> Iterator[int]:
    """A service of this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def test_what_is_allowed_by_name_passes(
    folder: Path, service: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = f"socket.create_connection(('127.0.0.1', {service})).close(); "
    hook += "subprocess.run(['true'], check=True); assert os.environ['OTHER_TOKEN'] == 'x'"
    agent = str(write(folder, "asks", hook=hook))
    monkeypatch.setenv("OTHER_TOKEN", "x")
    refused = run(agent, calls=1, turns=1)
    assert f"allow=localhost:{service}" in refused.troubles["error"].iloc[0]
    allow = f"localhost:{service}, subprocess, env:OTHER_TOKEN"
    assert run(agent, calls=1, turns=1, settings={"allow": allow}).troubles.empty


def test_secrets_are_hidden_and_other_variables_are_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = {
        "MY_API_KEY": "x", "DB_PASSWORD": "y", "GITHUB_TOKEN": "z", "AWS_SECRET_ACCESS_KEY": "a",
        "DATABASE": "postgres://me:word@host/db", "PLAIN": "sk-proj-0123456789abcdefghij",
    }  # fmt: skip
    fine = {"GREETING": "hello", "TIMEOUT_S": "3", "MONKEYS": "4"}
    for name, value in (secret | fine).items():
        monkeypatch.setenv(name, value)
    hook = f"assert set({list(secret | fine)}) & set(os.environ) == set({list(fine)}), "
    hook += f"set({list(secret | fine)}) & set(os.environ)"
    results = run(str(write(folder, "looks", hook=hook)), calls=1, turns=1, settings=FLUENT)
    assert results.troubles.empty, results.troubles["error"].tolist()


def test_arms_are_hermetic(folder: Path) -> None:
    patches = write(folder, "patches", top=PATCH)
    found = hermetic([str(write(folder, "good")), str(patches)], calls=2, turns=1)
    assert found["hermetic"].all(), found.to_string()


def test_a_state_kept_on_disk_is_found(folder: Path) -> None:
    """What an agent keeps outside its process is its own doing; the check says so."""
    tally = folder / "tally"
    hook = f"open({str(tally)!r}, 'a').write('x'); "
    hook += f"await asyncio.sleep(0.1 * os.path.getsize({str(tally)!r}))"
    found = hermetic([str(write(folder, "keeps", hook=hook))], calls=2, turns=1)
    assert not found["hermetic"].any()


def test_nothing_is_left_running(folder: Path) -> None:
    """A thread and a child of a call end with it."""
    after = "subprocess.Popen(['sleep', '77.125']); "
    after += "threading.Thread(target=time.sleep, args=(60,)).start()"
    agent = write(folder, "lingers", after=after)
    results = run(str(agent), calls=1, turns=1, settings={"allow": "subprocess"})
    assert set(results.calls["status"]) == {"ok"}
    commands = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not any(b"77.125" in c for c in commands)
