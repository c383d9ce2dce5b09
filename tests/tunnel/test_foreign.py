"""Agent files in the style of others find the job, the room and the packages they expect."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from labkit.engine.run import run
from labkit.engine.tables import Results
from labkit.errors import UsageError
from labkit.tunnel.agentfile import AgentFileError, load_agent, package_of
from labkit.tunnel.sources import source_files

FOREIGN = Path(__file__).parents[1] / "agents" / "foreign"
FLUENT = {"caller.persona": "fluent", "caller.dialogue": "dental_appointment"}


def answered(file: str, **settings: Any) -> tuple[Results, list[dict[str, Any]]]:
    """Runs a file of two calls of two turns, all of which must be answered; gives what it did."""
    results = run(str(FOREIGN / file), settings=FLUENT | settings, calls=1, turns=3, seed=7)
    assert set(results.calls["status"]) == {"ok"}, results.calls["error"].tolist()
    assert list(results.turns["outcome"]) == ["answered"] * 3
    assert not results.calls["agent_errors"].any(), results.calls["agent_errors"].tolist()
    return results, json.loads(results.calls["room"].iloc[0] or "[]")


@pytest.mark.slow
def test_metadata_attributes_and_the_environment_reach_the_agent(tmp_path: Path) -> None:
    env = tmp_path / "my.env"
    env.write_text("SHOP_TOKEN=t-17\nDEEPGRAM_API_KEY=a true one\n")
    given = {
        "job.metadata": '{"practice": "Ferncliff"}', "job.room_metadata": '{"floor": "2"}',
        "participant.kind": "sip", "participant.attributes.sip.phoneNumber": "+15550100",
        "job.env_file": str(env),
    }  # fmt: skip
    _, did = answered("metadata_reader.py", **given)
    assert did[0]["attributes"] == {
        "number": "+15550100", "kind": "3", "shop": "t-17", "linked": "caller", "room": "2"
    }  # fmt: skip


@pytest.mark.slow
def test_metadata_that_nobody_gave_is_asked_for_in_one_line() -> None:
    results = run(str(FOREIGN / "metadata_reader.py"), settings=FLUENT, calls=1, turns=1)
    (error,) = results.calls["error"]
    assert "--metadata JSON" in error and "metadata_reader.py:" in error and "\n" not in error


@pytest.mark.slow
def test_one_of_several_servers_is_chosen_by_name() -> None:
    _, did = answered("two_servers.py:support-agent")
    assert did[0]["attributes"] == {"me": "helper Help support"}


@pytest.mark.slow
def test_an_agent_in_a_package_runs_and_its_room_is_deleted() -> None:
    _, did = answered("front_desk/agent.py")
    assert [d.get("method") for d in did] == ["RoomService/DeleteRoom"]


@pytest.mark.slow
def test_an_agent_and_the_callers_app_work_together(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text(
        '[rpc]\ngetUserLocation = "Berlin"\n[[event]]\nat_s = 1\ndata = "hi"\ntopic = "t"\n'
        '[[event]]\nat_s = 2\nrpc = "mute"\n'
    )
    given = {"participant.script": str(script), "participant.joins_after_s": 0.4}
    _, did = answered("with_an_app.py", **given)
    texts = {d["topic"]: d["content"] for d in did if d["act"] == "text"}
    assert texts["location"] == "Berlin"
    seen = json.loads(texts["seen"])
    assert seen == ["came caller", "track caller", "data t hi", "left caller", "closed"]
    assert {"act": "called", "method": "mute", "payload": "muted"}.items() <= next(
        d for d in did if d["act"] == "called"
    ).items()
    assert [d["name"] for d in did if d["act"] == "track"] == ["hum"]


@pytest.mark.slow
def test_an_outbound_agent_dials_and_hangs_up() -> None:
    given = {"job.metadata": '{"phone_number": "+15550100"}'}
    _, did = answered("dials_out.py", **given)
    assert [d["method"] for d in did if d["act"] == "api"] == [
        "Egress/StartRoomCompositeEgress", "SIP/CreateSIPParticipant", "RoomService/DeleteRoom"
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("livekit.plugins.turn_detector") is None,
    reason="pip install 'labkit[turn-detector]'",
)
def test_the_text_turn_detector_is_answered_by_a_stand_in_that_is_named() -> None:
    results, _ = answered("text_detector.py")
    (note,) = json.loads(results.calls["notes"].iloc[0])
    assert "audio model stands in" in note
    assert (results.turns["turn_detector_s"] >= 0).all()


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
