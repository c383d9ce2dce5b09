"""Agent files in the style of others find the job, the room and the packages they expect."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labkit.engine.run import run
from labkit.errors import UsageError
from labkit.evidence.summary import metrics
from labkit.tunnel.agentfile import AgentFileError, load_agent, package_of
from labkit.tunnel.sources import source_files
from labkit.tunnel.spec import ENVIRONMENT

FOREIGN = Path(__file__).parents[1] / "agents" / "foreign"
HAS_DETECTOR = importlib.util.find_spec("livekit.plugins.turn_detector") is not None


META = {
    "job.metadata": '{"practice": "Ferncliff"}', "job.room_metadata": '{"floor": "2"}',
    "participant.kind": "sip", "participant.attributes.sip.phoneNumber": "+15550100",
}  # fmt: skip
SCRIPT = """
[rpc]
getUserLocation = "Berlin"
[[event]]
at_s = 1
data = "hi"
topic = "t"
[[event]]
at_s = 2
rpc = "mute"
"""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One call of each file."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "my.env").write_text("SHOP_TOKEN=t-17\nDEEPGRAM_API_KEY=a true one\n")
    (folder / "script.toml").write_text(SCRIPT)
    meta = META | {"job.env_file": str(folder / "my.env")}
    app = {
        "participant.script": str(folder / "script.toml"),
        "participant.joins_after_s": 0.4,
    }
    asked: dict[str, Any] = {
        "told": ["metadata_reader.py", meta, 3],
        "not told": ["metadata_reader.py", {}, 1],
        "wrong key": ["metadata_reader.py", meta | {"keys.accept": "supplied"}, 1],
        "named": ["two_servers.py:support-agent", {}, 3],
        "package": ["front_desk/agent.py", {}, 3],
        "app": ["with_an_app.py", app, 3],
        "dials": ["dials_out.py", {"job.metadata": '{"phone_number": "+15550100"}'}, 3],
    }
    if HAS_DETECTOR:
        asked["detector"] = ["text_detector.py", {}, 3]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("foreign_calls.py"))],
        input=json.dumps(asked), env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["told", "named", "package", "app", "dials"])
def test_every_turn_is_answered(name: str, calls: dict[str, Any]) -> None:
    found = calls[name]
    assert (found["status"], found["error"], found["agent_errors"]) == ("ok", "", "")
    assert found["outcomes"] == ["answered"] * 3


@pytest.mark.slow
def test_metadata_attributes_and_the_environment_reach_the_agent(calls: dict[str, Any]) -> None:
    (did,) = calls["told"]["room"]
    assert did["attributes"] == {
        "number": "+15550100", "kind": "3", "shop": "t-17", "linked": "caller", "room": "2"
    }  # fmt: skip


@pytest.mark.slow
def test_metadata_that_nobody_gave_is_asked_for_in_one_line(calls: dict[str, Any]) -> None:
    error = calls["not told"]["error"]
    assert "give --metadata JSON (job.metadata)" in error and "metadata_reader.py:" in error
    assert "\n" not in error and calls["not told"]["status"] == "failed"


@pytest.mark.slow
def test_a_key_of_the_agents_own_is_refused_only_where_that_is_asked(calls: dict[str, Any]) -> None:
    assert calls["wrong key"]["outcomes"] == ["failed"]


@pytest.mark.slow
def test_one_of_several_servers_is_chosen_by_name(calls: dict[str, Any]) -> None:
    assert calls["named"]["room"][0]["attributes"] == {"me": "helper Help support"}


@pytest.mark.slow
def test_a_room_can_be_deleted_with_its_session(calls: dict[str, Any]) -> None:
    assert [d["method"] for d in calls["package"]["room"]] == ["RoomService/DeleteRoom"]


@pytest.mark.slow
def test_what_was_done_in_the_room_is_told_by_call() -> None:
    results = run(str(FOREIGN / "front_desk" / "agent.py"), calls=2, turns=1)
    did = metrics(results)["room"]
    assert [(d["call"], d["method"]) for d in did] == [
        (0, "RoomService/DeleteRoom"), (1, "RoomService/DeleteRoom")
    ]  # fmt: skip


@pytest.mark.slow
def test_an_agent_and_the_callers_app_work_together(calls: dict[str, Any]) -> None:
    did = calls["app"]["room"]
    texts = {d["topic"]: d["content"] for d in did if d["act"] == "text"}
    assert texts["location"] == "Berlin"
    seen = ["came caller", "track caller", "data t hi", "left caller", "closed"]
    assert json.loads(texts["seen"]) == seen
    called = [(d["t_s"], d["payload"]) for d in did if d["act"] == "called"]
    assert called == [(pytest.approx(0.4 + 2), "muted")]
    assert [d["name"] for d in did if d["act"] == "track"] == ["hum"]


@pytest.mark.slow
def test_an_outbound_agent_dials_and_hangs_up(calls: dict[str, Any]) -> None:
    assert [d["method"] for d in calls["dials"]["room"]] == [
        "Egress/StartRoomCompositeEgress", "SIP/CreateSIPParticipant", "RoomService/DeleteRoom"
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not HAS_DETECTOR, reason="pip install 'labkit[turn-detector]'")
def test_the_text_turn_detector_is_answered_by_a_stand_in_that_is_named(
    calls: dict[str, Any],
) -> None:
    assert calls["detector"]["outcomes"] == ["answered"] * 3
    (note,) = calls["detector"]["notes"]
    assert "audio model stands in" in note


def test_several_servers_without_a_word_on_which_are_named() -> None:
    with pytest.raises(AgentFileError, match=r"\(sales, support\).*two_servers\.py:sales"):
        load_agent(str(FOREIGN / "two_servers.py"))
    with pytest.raises(AgentFileError, match="did you mean sales-agent"):
        load_agent(f"{FOREIGN / 'two_servers.py'}:sales-agnt")
    taken = load_agent(f"{FOREIGN / 'two_servers.py'}:help_out")
    assert taken.name == "support-agent" and taken.request is not None
    assert taken.session_end is not None, "the function's server is taken with it"


def test_a_package_and_what_it_imports_are_found(tmp_path: Path) -> None:
    desk = FOREIGN / "front_desk"
    assert package_of(desk / "agent.py") == "front_desk"
    assert package_of(FOREIGN / "two_servers.py") == ""
    assert {f.name for f in source_files(desk / "agent.py")} >= {
        "agent.py", "people.py", "words.py"
    }  # fmt: skip
    loose = tmp_path / "loose" / "agent.py"
    loose.parent.mkdir()
    loose.write_text("from .people import X\n")
    assert package_of(loose) == "loose", "a relative import needs no __init__.py"


@pytest.mark.parametrize(
    "line", ["from livekit.plugins import not_there", "import livekit.plugins.not_there"]
)
def test_a_missing_plugin_names_its_package(line: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.py"
    file.write_text(f"{line}\n")
    with pytest.raises(AgentFileError, match="`pip install livekit-plugins-not-there`"):
        load_agent(str(file))


def test_a_file_that_a_setting_names_must_be_there() -> None:
    with pytest.raises(UsageError, match=r"job\.env_file=/no/such: No such file"):
        run("vanilla", settings={"job.env_file": "/no/such"}, calls=1, turns=1)
