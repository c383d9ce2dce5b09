"""Tuning by hand, without a browser: measuring in the background, the widgets, and their code."""

from __future__ import annotations

import shutil
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from labkit.engine.calls import Finished
from labkit.engine.experiment import Arm, Experiment
from labkit.engine.sweep import sweep
from labkit.engine.workload import Job
from labkit.errors import UsageError
from labkit.explorer import refine
from labkit.explorer.explore import Explorer, explore
from labkit.explorer.refine import Refiner, Snapshot
from labkit.paths import agents_dir
from labkit.settings import SETTINGS, SettingError
from labkit.settings.snippet import session_code
from labkit.tunnel.agentfile import AgentFileError

PNG = b"\x89PNG"

# ---------------------------------------------------------------------------- measuring


class Hand:
    """Stands in for the worker processes: a call ends when it is told to."""

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)
        self.ran: list[Job] = []

    def run_jobs(self, jobs: Iterator[Job], workers: int, kept: Any) -> Iterator[Finished]:
        for job in jobs:
            if not self.allowed.acquire(timeout=20):
                raise RuntimeError("nobody let this call end")
            self.ran.append(job)
            chosen = job.spec.settings.get("endpointing.min_delay_s", 0.3)
            failed = chosen == 0.99
            call = {"call": job.spec.call, "status": "failed" if failed else "ok"}
            turn = {"call": job.spec.call, "turn": 0, "response_latency_s": chosen}
            error = "no such thing" if failed else ""
            rows = {"turns": [] if failed else [turn], "call": {**call, "error": error}}
            yield Finished(job, rows)


class Told:
    """Every progress, and the last one that meets a condition."""

    def __init__(self) -> None:
        self.all: list[Snapshot] = []
        self.news = threading.Condition()

    def __call__(self, progress: Snapshot) -> None:
        with self.news:
            self.all.append(progress)
            self.news.notify_all()

    def until(self, condition: Callable[[Snapshot], bool]) -> Snapshot:
        with self.news:
            met = self.news.wait_for(lambda: self.all and condition(self.all[-1]), timeout=20)
        assert met, [(p.choice, p.n_calls, p.running) for p in self.all]
        return self.all[-1]


@pytest.fixture
def hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hand:
    own = Hand()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(refine, "run_jobs", own.run_jobs)
    return own


@pytest.fixture
def measuring(hand: Hand) -> Iterator[tuple[Refiner, Hand, Told]]:
    told = Told()
    own = Refiner(tell=told, calls=4, turns=1)
    yield own, hand, told
    hand.allowed.release(1000)
    own.close()
    assert not own._thread.is_alive()


SLOW = {"endpointing.min_delay_s": 0.9}
FAST = {"endpointing.min_delay_s": 0.1}


def test_both_arms_grow_by_the_same_calls(measuring: tuple[Refiner, Hand, Told]) -> None:
    own, hand, told = measuring
    own.choose({}, SLOW)
    hand.allowed.release(3)
    seen = told.until(lambda p: p.n_calls == 1)
    assert seen.running and seen.total == 4
    assert list(seen.baseline["call"]) == list(seen.chosen["call"]) == [0]
    assert seen.chosen["response_latency_s"].iloc[0] == 0.9
    hand.allowed.release(5)
    seen = told.until(lambda p: not p.running)
    assert list(seen.baseline["call"]) == list(seen.chosen["call"]) == [0, 1, 2, 3]
    assert len(hand.ran) == 8


def test_another_choice_takes_over_and_what_is_known_is_not_run_again(
    measuring: tuple[Refiner, Hand, Told],
) -> None:
    own, hand, told = measuring
    first = own.choose({}, SLOW)
    hand.allowed.release(8)
    told.until(lambda p: not p.running)
    second = own.choose({}, FAST)
    assert second > first
    hand.allowed.release(2)
    seen = told.until(lambda p: p.choice == second and p.n_calls > 0)
    assert seen.chosen["response_latency_s"].iloc[0] == 0.1
    hand.allowed.release(20)
    told.until(lambda p: p.choice == second and not p.running)
    # the fake keeps nothing, so both arms are run for each choice, each call once
    assert len(hand.ran) == 16
    assert [j.spec.settings for j in hand.ran[8:] if j.point] == [FAST] * 4


def test_it_stops_and_goes_on(measuring: tuple[Refiner, Hand, Told]) -> None:
    own, hand, told = measuring
    own.choose({}, SLOW)
    hand.allowed.release(2)
    told.until(lambda p: p.n_calls == 1)
    own.stop()
    hand.allowed.release(1)  # what is under way is finished
    assert not told.until(lambda p: not p.running).running
    ran = len(hand.ran)
    time.sleep(0.1)
    assert len(hand.ran) == ran < 8
    own.go_on()
    hand.allowed.release(20)
    told.until(lambda p: p.n_calls == 4 and not p.running)
    assert len(hand.ran) == 8


def test_settings_that_cannot_run_end_by_themselves(
    measuring: tuple[Refiner, Hand, Told],
) -> None:
    own, hand, told = measuring
    own.choose({}, {"endpointing.min_delay_s": 0.99})
    hand.allowed.release(100)
    seen = told.until(lambda p: not p.running)
    assert seen.errors == ("no such thing",)
    assert seen.n_calls < 4 and len(seen.chosen) == 0


def test_trouble_is_told_and_the_next_choice_is_served(
    measuring: tuple[Refiner, Hand, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, hand, told = measuring

    def broken(*_: Any, **__: Any) -> Iterator[Any]:
        raise OSError("no space left")

    monkeypatch.setattr(refine, "run_jobs", broken)
    own.choose({}, SLOW)
    seen = told.until(lambda p: bool(p.errors))
    assert seen.errors == ("OSError: no space left",) and not seen.running
    monkeypatch.setattr(refine, "run_jobs", hand.run_jobs)
    hand.allowed.release(100)
    own.choose({}, FAST)
    told.until(lambda p: p.n_calls == 4)


def test_a_choice_that_cannot_be_made_leaves_the_one_before(
    measuring: tuple[Refiner, Hand, Told],
) -> None:
    own, hand, told = measuring
    choice = own.choose({}, SLOW)
    with pytest.raises(SettingError, match="at least 0"):
        own.choose({}, {"endpointing.min_delay_s": -1})
    hand.allowed.release(100)
    assert told.until(lambda p: not p.running).choice == choice


# ---------------------------------------------------------------------------- widgets


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    """Real calls, few of them; what they gave is in the store for those that come later."""
    own = explore(
        knobs={"endpointing.min_delay_s": [0.0, 0.2, 1.0], "preemptive.enabled": [],
               "vad.min_silence_s": [0.1, 0.3], "caller.persona": []},
        settings={"caller.dialogue": "order_status", "caller.persona": "fluent"},
        turns=8, turns_per_call=2, workers=2,
    )  # fmt: skip
    yield own
    own.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("labkit")]


def painted(own: Explorer, condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    assert condition(), own.view.status.value


@pytest.mark.slow
def test_turning_a_knob_changes_the_figures(explorer: Explorer) -> None:
    explorer.wait(8)
    painted(explorer, lambda: "at rest: 8 turns of 8" in explorer.view.status.value)
    before = bytes(explorer.view.frontier.value)
    assert before.startswith(PNG) and bytes(explorer.view.waterfall.value).startswith(PNG)
    assert "saves 0 ms [0–0] per turn" in explorer.view.status.value
    explorer.knobs["endpointing.min_delay_s"].value = 1.0
    assert explorer.chosen == {"endpointing.min_delay_s": 1.0}
    assert explorer.wait(8).n_calls == 4
    painted(explorer, lambda: "at rest: 8 turns of 8" in explorer.view.status.value)
    assert bytes(explorer.view.frontier.value) != before
    assert "endpointing delay" in explorer.view.stages.value
    results = explorer.results()
    assert list(results.arms) == ["baseline", "chosen"] and len(results.turns) == 16
    before_s, after_s = (
        arm.turns.set_index(["call", "turn"])["response_latency_s"] for arm in results.arms.values()
    )
    longer_s = after_s - before_s
    assert longer_s.max() > 0.2, "0.7 s more of waiting is seen, but for what overlapped"
    assert '"endpointing": {"min_delay": 1.0}' in explorer.view.code.value


@pytest.mark.slow
def test_what_the_sdk_refuses_is_said(explorer: Explorer) -> None:
    explorer.choose({"vad.min_silence_s": 0.1, "endpointing.min_delay_s": None})
    now = explorer.wait(8)
    assert now.errors and "min_silence_duration" in now.errors[0]
    painted(explorer, lambda: "failed: ValueError" in explorer.view.status.value)
    assert bytes(explorer.view.frontier.value) == b"", "no picture of other settings is left"
    explorer.choose({"vad.min_silence_s": None})
    explorer.wait(8)
    painted(explorer, lambda: bytes(explorer.view.frontier.value).startswith(PNG))


@pytest.mark.slow
def test_the_world_is_the_same_for_both_and_a_baseline_can_be_pinned(explorer: Explorer) -> None:
    explorer.choose({"caller.persona": "terse", "preemptive.enabled": False})
    now = explorer.wait(8)
    settings = [pd.unique(t["settings"])[0] for t in (now.baseline, now.chosen)]
    assert all('"terse"' in s for s in settings)
    assert ["preemptive" in s for s in settings] == [False, True]
    explorer.pin()
    now = explorer.wait(8)
    assert pd.unique(now.baseline["settings"])[0] == pd.unique(now.chosen["settings"])[0]
    explorer.choose({"caller.persona": None, "preemptive.enabled": None})
    assert explorer.chosen == {}


def refiners() -> int:
    return sum(t.name == "labkit refine" for t in threading.enumerate())


def test_what_cannot_be_turned_is_refused() -> None:
    before = refiners()
    for given, error, words in (
        ({"knobs": ["endpointing.min_dealy_s"]}, SettingError, "endpointing.min_delay_s"),
        ({"knobs": ["links.caller.loss"]}, UsageError, "list its values"),
        ({"knobs": {"vad.min_silence_s": ["soon"]}}, SettingError, "expected a number in s"),
        ({"agent": "vanila"}, AgentFileError, "did you mean vanilla"),
        ({"turns": 0}, UsageError, "turns=0"),
        ({"workers": -1}, UsageError, "workers=-1"),
    ):
        with pytest.raises(error, match=words):
            explore(**given)  # type: ignore[arg-type]
    assert refiners() == before


@pytest.mark.slow
def test_a_knob_gets_a_position_for_a_new_value(explorer: Explorer) -> None:
    explorer.choose({"endpointing.min_delay_s": 0.15})
    labels = [text for text, _ in explorer.knobs["endpointing.min_delay_s"].options]
    assert labels == ["SDK's own", "0 ms", "150 ms", "200 ms", "1000 ms"]
    with pytest.raises(UsageError, match=r"unknown knob .tts\.model."):
        explorer.choose({"tts.model": "sonic-2"})
    with pytest.raises(SettingError, match="at least 0"):
        explorer.choose({"endpointing.min_delay_s": -1})
    assert explorer.chosen == {"endpointing.min_delay_s": 0.15}
    explorer.choose({"endpointing.min_delay_s": None})


# ---------------------------------------------------------------------------- code


AGENT = """
from vanilla import INSTRUCTIONS
from livekit.agents import Agent, JobContext, WorkerOptions, cli


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
{code}
    await session.start(agent=Agent(instructions=INSTRUCTIONS), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
"""

SETS: list[dict[str, object]] = [
    {},
    {"endpointing.min_delay_s": 0.1, "endpointing.max_delay_s": 1.0, "preemptive.enabled": False,
     "llm.model": "gpt-4o", "interruption.enabled": False},
    {"turn_detection": "vad", "vad.min_silence_s": 0.15, "vad.activation_threshold": 0.6,
     "preemptive.tts": True, "interruption.min_duration_s": 0.3},
    {"stt.provider": "deepgram-flux", "stt.eot_threshold": 0.6, "stt.eager_eot_threshold": 0.4,
     "turn_detection": "stt", "llm.provider": "anthropic"},
    {"turn_detector.threshold": 0.2, "prewarm.llm": False, "prewarm.tts": False,
     "aec_warmup_s": 1.0, "endpointing.mode": "dynamic", "stt.model": "nova-3-general",
     "tts.provider": "cartesia", "tts.model": "sonic-2"},
]  # fmt: skip
"""Together they set everything an agent can be told."""


def test_every_setting_of_a_session_is_tried() -> None:
    known = {n for n, s in SETTINGS.items() if s.agent and not n.startswith("agent.")}
    assert known == {name for changes in SETS for name in changes}


@pytest.mark.slow
def test_the_code_does_what_the_settings_do(tmp_path: Path) -> None:
    shutil.copy(agents_dir() / "vanilla.py", tmp_path)
    callers = {"caller.persona": "fluent", "caller.dialogue": "order_status"}
    arms: dict[str, str | Arm] = {}
    for i, changes in enumerate(SETS):
        code = textwrap.indent(session_code(changes), "    ")
        (tmp_path / f"pasted_{i}.py").write_text(AGENT.format(code=code))
        arms[f"set {i}"] = Arm("vanilla", changes)
        arms[f"pasted {i}"] = str(tmp_path / f"pasted_{i}.py")
    results = sweep(
        Experiment(arms, settings=callers, calls=1, turns=3),
    )
    failed = results.calls[results.calls["status"] != "ok"]
    assert not len(failed), dict(zip(failed["arm"], failed["error"], strict=True))
    heads = ["experiment_id", "arm", "agent", "settings"]
    for i in range(len(SETS)):
        pasted, told = (
            results.part(arm=f"{how} {i}").turns.drop(columns=heads) for how in ("pasted", "set")
        )
        pd.testing.assert_frame_equal(pasted, told)
    tables = {
        results.part(arm=f"set {i}").turns[["response_latency_s", "usd", "llm_calls"]].to_csv()
        for i in range(5)
    }
    assert len(tables) == 5, "the sets differ, so equal tables mean something"


def test_what_is_not_the_sessions_is_only_named() -> None:
    code = session_code(
        {"caller.persona": "terse", "agent.greets": True, "links.openai.rtt_s": 0.1}
    )
    assert "turn_handling" not in code
    assert code.endswith("# agent.greets=True\n# caller.persona=terse\n# links.openai.rtt_s=0.1\n")
    with pytest.raises(SettingError):
        session_code({"endpointing.min_delay": 1})
