"""Which points an experiment has, and what is refused before anything runs."""

from pathlib import Path

import pytest

from labkit.engine.experiment import Arm, Experiment, load_points
from labkit.errors import UsageError
from labkit.settings import SettingError
from labkit.tunnel.agentfile import AgentFileError


def test_every_arm_meets_every_combination() -> None:
    points = Experiment(
        {"a": "vanilla", "b": "vanilla@preemptive.enabled=false"},
        grid={"links.openai.rtt_s": [0.03, 0.1], "turns": [2, 3]},
        points=[{"links.openai.rtt_s": 0.5}],
        settings={"caller.persona": "terse"},
    ).runs()
    seen = [(p.arm, p.swept["links.openai.rtt_s"], p.spec.n_turns) for p in points]
    places = [(0.03, 2), (0.03, 3), (0.1, 2), (0.1, 3), (0.5, 5)]
    assert seen == [(arm, *place) for arm in "ab" for place in places]
    assert all(p.spec.settings["caller.persona"] == "terse" for p in points)
    assert [p.spec.settings.get("preemptive.enabled") for p in points] == [None] * 5 + [False] * 5
    # a default value is no change, so it names the same run
    assert "links.openai.rtt_s" not in points[0].spec.settings


def test_a_place_wins_over_its_arm_and_an_arm_over_what_is_set_for_all() -> None:
    (point,) = Experiment(
        {"a": "vanilla@endpointing.min_delay_s=0.4,vad.min_silence_s=0.4"},
        grid={"endpointing.min_delay_s": [0.6]},
        settings={"endpointing.min_delay_s": 0.2, "vad.min_silence_s": 0.2, "aec_warmup_s": 2.0},
        seed=11,
    ).runs()
    assert point.spec.settings == {
        "aec_warmup_s": 2.0, "endpointing.min_delay_s": 0.6, "vad.min_silence_s": 0.4,
    }  # fmt: skip
    assert point.spec.seed == 11


def test_an_arm_is_read_from_text() -> None:
    assert Arm.parse("vanilla@a=1,b=x") == Arm("vanilla", {"a": "1", "b": "x"})
    assert Arm.parse("my/agent.py:server") == Arm("my/agent.py:server")


def test_open_ended_values_keep_their_kind() -> None:
    (point,) = Experiment(
        {"a": "vanilla"}, grid={"providers.openai.models.gpt-4o-mini.first_token": ["0.2"]}
    ).runs()
    assert point.swept == {"providers.openai.models.gpt-4o-mini.first_token": 0.2}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"arms": {}}, UsageError, "at least one arm"),
        ({"arms": {"a": "vanila"}}, AgentFileError, "did you mean vanilla"),
        ({"grid": {"endpointing.min_dealy_s": [1]}}, SettingError, "endpointing.min_delay_s"),
        ({"grid": {"links.openai.rtt_s": []}}, UsageError, "list of values"),
        ({"grid": {"links.openai.rtt_s": "0.1"}}, UsageError, "list of values"),
        ({"turns": 0}, UsageError, "at least 1"),
        ({"clock": "sundial"}, UsageError, "virtual or wall"),
        ({"settings": {"agent.colour": "red"}}, SettingError, "does not accept parameter"),
    ],
)
def test_what_cannot_run_is_refused(change: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Experiment(**{"arms": {"a": "vanilla"}, **change}).runs()


def test_points_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "points.toml"
    file.write_text('[[point]]\nlinks.openai.rtt_s = 0.1\n"vad.min_silence_s" = 0.3\n')
    assert load_points(file) == [{"links.openai.rtt_s": 0.1, "vad.min_silence_s": 0.3}]
    file.write_text("points = 3\n")
    with pytest.raises(UsageError, match=r"\[\[point\]\]"):
        load_points(file)
