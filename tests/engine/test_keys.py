"""Every setting and every part of a call names other rows; the order they are given in does not.

Also that rows, tables and points come back as they were written.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import shlex
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from setting_values import NAME_FILES, others

from labkit.cli.sweep import _grid
from labkit.engine import store
from labkit.engine.encoding import decode, encode
from labkit.engine.experiment import Arm, Experiment, load_points, places
from labkit.engine.tables import Results, each_once
from labkit.engine.workload import Workload, _identity, _replay_command, checked_path
from labkit.errors import UsageError
from labkit.settings import SETTINGS, Settings, Value
from labkit.tunnel.spec import CallSpec

COMMON = "what all calls depend on"
VANILLA = CallSpec("vanilla")


def key(settings: dict[str, Value] | None = None, agent: str = "vanilla") -> str:
    return store.key(CallSpec(agent, Settings(settings or {}).as_dict()), COMMON)


# ------------------------------------------------------------------- keys


@pytest.mark.parametrize("name", [n for n in SETTINGS if n not in NAME_FILES])
def test_every_setting_is_part_of_the_key(name: str) -> None:
    """Where one names a file, what is in that counts: see test_store.py."""
    setting = SETTINGS[name]
    keys = [key(), *(key({name: value}) for value in others(setting) or [setting.default])]
    assert len(keys) >= 2
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("hosts.my.host", ("openai", "anthropic")),
        ("providers.openai.models.gpt-4o-mini.first_token", (0.2, 0.3)),
        ("providers.openai.models.gpt-4o-mini.first_token.median_s", (0.2, 0.3)),
        ("providers.deepgram.limits.streaming", (7.0, 8.0)),
        ("agent.rule", ("length", "phrases", True, False, 1.0, 2.0, "")),
    ],
)
def test_so_are_the_open_ended_ones(name: str, values: tuple[Value, ...]) -> None:
    keys = [key(), *(key({name: value}) for value in values)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("part", ["rtt_s", "jitter_s", "loss", "dns_s"])
def test_so_is_every_part_of_a_link_of_ones_own(part: str) -> None:
    host = {"hosts.my.host": "openai"}
    keys = [key(host), *(key({**host, f"links.my.host.{part}": v}) for v in (0.0, 0.1))]
    assert len(set(keys)) == 3, "0 is not what the provider's own link has, or may come to have"


OTHER = {
    "agent": ["push_to_talk", "stacked"],
    "settings": [{"vad.min_silence_s": 0.2}, {"vad.min_silence_s": 0.3}],
    "seed": [8, -7, 70],
    "call": [1, 70],
    "n_turns": [4, 6],
    "virtual": [False],
}
NO_PART = {"tracks"}
"""Whether the sound is kept too changes no row."""


@pytest.mark.parametrize("field", [f.name for f in fields(CallSpec)])
def test_every_field_of_a_call_is_part_of_its_key(field: str) -> None:
    if field in NO_PART:
        assert store.key(replace(VANILLA, tracks=True), COMMON) == store.key(VANILLA, COMMON)
        return
    specs = [VANILLA, *(replace(VANILLA, **{field: value}) for value in OTHER[field])]
    assert len({store.key(spec, COMMON) for spec in specs}) == len(specs)


def test_fields_are_not_taken_for_each_other() -> None:
    swapped = [
        replace(VANILLA, seed=a, call=b, n_turns=c) for a, b, c in itertools.permutations((3, 4, 5))
    ]
    assert len({store.key(spec, COMMON) for spec in swapped}) == 6


def test_what_is_installed_is_part_of_the_key() -> None:
    assert store.key(VANILLA, "a") != store.key(VANILLA, "b")
    assert store.key(VANILLA) == store.key(VANILLA, store.installed())


def test_a_named_object_of_an_agent_file_is_part_of_the_key(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("one = two = None\n")
    agents = [str(file), f"{file}:one", f"{file}:two"]
    assert len({key(agent=agent) for agent in agents}) == 3


def test_a_key_is_32_hexadecimal_digits_and_the_call_is_hashed_with_its_point() -> None:
    name = store.key(VANILLA, COMMON)
    assert re.fullmatch("[0-9a-f]{32}", name)
    point = store.point_key(VANILLA, COMMON)
    assert re.fullmatch("[0-9a-f]{64}", point)
    assert name == store.call_key(point, 0)
    assert store.point_key(replace(VANILLA, call=5), COMMON) == point
    assert len({store.call_key(point, call) for call in range(300)}) == 300


CHOICES = [n for n, s in SETTINGS.items() if n not in NAME_FILES and others(s)]
PICKED = st.lists(st.sampled_from(CHOICES), unique=True, max_size=6)


@effort(max_examples=10)
@given(PICKED, st.randoms(use_true_random=False))
def test_the_order_of_settings_counts_for_nothing(names: list[str], rng) -> None:
    chosen = {name: rng.choice(others(SETTINGS[name])) for name in names}
    shuffled = dict(rng.sample(list(chosen.items()), len(chosen)))
    assert key(shuffled) == key(chosen)
    raw = [CallSpec("vanilla", order) for order in (chosen, shuffled)]
    assert store.key(raw[0], COMMON) == store.key(raw[1], COMMON)
    for name in names:
        less = {k: v for k, v in chosen.items() if k != name}
        assert key(less) != key(chosen)


# ------------------------------------------------------------------- the calls of an experiment

SHORT = {"caller.dialogue": "order_status"}


def jobs(**change) -> list[str]:
    experiment = Experiment(**{"arms": {"a": "vanilla"}, "calls": 2, "settings": SHORT, **change})
    return [job.key for job in Workload(experiment).jobs]


def test_equal_calls_have_one_key_whatever_their_arm_is_called() -> None:
    one = jobs()
    assert len(set(one)) == 2
    assert jobs(arms={"another": "vanilla"}) == one
    assert jobs(arms={"a": "vanilla@links.openai.rtt_s=0.03"}) == one, "a default is no change"
    assert jobs(settings={}, arms={"a": "vanilla@caller.dialogue=order_status"}) == one
    assert jobs(first=1)[0] == one[1]
    both = jobs(arms={"a": "vanilla", "b": "vanilla"})
    assert [both[0], both[2]] == [both[1], both[3]] == one, "call by call, all arms of each"
    for change in ({"seed": 8}, {"turns": 4}, {"first": 5}, {"arms": {"a": "push_to_talk"}},
                   {"settings": {**SHORT, "links.openai.rtt_s": 0.1}}):  # fmt: skip
        assert not set(jobs(**change)) & set(one), change


def test_calls_on_the_wall_clock_are_kept_apart_by_point_and_call_alone() -> None:
    wall = jobs(clock="wall", arms={"a": "vanilla", "b": "vanilla"})
    assert len(set(wall)) == 4, "two arms are run twice: their times differ"
    assert not set(wall) & set(jobs())


def test_rows_get_the_arm_and_place_they_belong_to() -> None:
    work = Workload(
        Experiment({"a": "vanilla", "b": "vanilla"}, {"links.openai.rtt_s": [0.1, 0.2]}, calls=2,
                   settings=SHORT, first=3)
    )  # fmt: skip
    assert len(work.missing) == 4, "equal jobs are run once"
    for job in work.missing:
        rtt_s = work.points[job.point].swept["links.openai.rtt_s"]
        rows = {"turns": [{"x": rtt_s, "call": job.spec.call}], "call": {"call": job.spec.call}}
        work.known[job.key] = rows
    turns, calls = work.frames()
    assert turns[["arm", "call"]].to_numpy().tolist() == [
        ["a", 3], ["a", 4], ["a", 3], ["a", 4], ["b", 3], ["b", 4], ["b", 3], ["b", 4]
    ]  # fmt: skip
    assert (turns["x"] == turns["links.openai.rtt_s"]).all()
    assert work.finished(1) == {3, 4} and not work.missing
    turns, calls = work.frames(points={2}, calls={4})
    assert (calls["arm"].tolist(), calls["call"].tolist()) == (["b"], [4])
    assert calls["links.openai.rtt_s"].tolist() == [0.1]
    (again,) = calls["replay"]
    words = shlex.split(again)
    assert words[:3] == ["labkit", "run", "vanilla"]
    assert words[words.index("--first") + 1] == "4" and words[words.index("--calls") + 1] == "1"


def test_the_command_that_runs_a_call_again_says_all_of_it() -> None:
    spec = CallSpec("my agent.py:x", {"a.b": True, "c.d": 0.25, "e": "two words"}, 9, 3, 7)
    assert shlex.split(_replay_command(spec)) == [
        "labkit", "run", "my agent.py:x", "--set", "a.b=true", "--set", "c.d=0.25",
        "--set", "e=two words", "--turns", "7", "--seed", "9", "--first", "3", "--calls", "1",
        "--fresh",
    ]  # fmt: skip
    assert _replay_command(replace(spec, virtual=False)).endswith(" --fresh --clock wall")


def test_an_experiments_id_names_what_is_run_and_not_its_callers() -> None:
    (point,) = Experiment({"a": "vanilla"}, settings=SHORT).runs()

    def name(**change: object) -> str:
        return _identity(replace(point, spec=replace(point.spec, **change)))["experiment_id"]

    assert name() == name(seed=8) == name(call=4) == name(tracks=True)
    changed = [name(agent="push_to_talk"), name(settings={}), name(n_turns=4), name(virtual=False)]
    assert len({name(), *changed}) == 5
    head = _identity(replace(point, arm="b"))
    assert (head["arm"], head["agent"], head["clock"]) == ("b", "vanilla", "virtual")
    assert json.loads(head["settings"]) == SHORT and head["turns_asked"] == 5


# ------------------------------------------------------------------- rows and tables

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ROW = st.dictionaries(st.text(), PLAIN | st.lists(PLAIN, max_size=3), max_size=6)


@given(st.lists(ROW, max_size=4), ROW)
def test_rows_come_back_to_the_last_digit(turns: list[dict], call: dict) -> None:
    rows = {"turns": turns, "call": call}
    assert repr(decode(encode(rows))) == repr(rows)


def test_numpys_numbers_become_pythons_and_nothing_else_is_guessed_at() -> None:
    row = {"a": np.float64(0.1), "b": np.int64(3), "c": np.bool_(True), "d": math.nan}
    found = decode(encode({"turns": [], "call": row}))["call"]
    assert (found["a"], found["b"], found["c"] is True) == (0.1, 3, True) and math.isnan(found["d"])
    with pytest.raises(TypeError, match="cannot be kept in a table"):
        encode({"turns": [{"x": Path("a")}]})


def results(rows: list[dict]) -> Results:
    calls = pd.DataFrame({"arm": ["a", "b"], "call": [0, 0], "simulated_s": [1.5, 2.0],
                          "status": ["ok", "failed"]})  # fmt: skip
    return Results(pd.DataFrame(rows), calls, {"seed": 7})


ROWS = [
    {"experiment_id": "x", "arm": arm, "links.x.rtt_s": at, "call": call, "turn": turn, "v": v}
    for v, (arm, at, call, turn) in enumerate(itertools.product("ab", (0.1, 0.2), (0, 1), (0, 1)))
]


@effort(max_examples=10)
@given(st.permutations(ROWS))
def test_a_digest_depends_on_values_and_not_on_their_order(rows: list[dict]) -> None:
    assert results(rows).digest == results(ROWS).digest
    renamed = [{**row, "experiment_id": "y"} for row in rows]
    assert results(renamed).digest == results(ROWS).digest


@pytest.mark.parametrize("column", ["arm", "links.x.rtt_s", "call", "turn", "v"])
def test_a_digest_depends_on_every_column(column: str) -> None:
    changed = [*ROWS[:-1], {**ROWS[-1], column: 9}]
    assert results(changed).digest != results(ROWS).digest


def test_parts_of_results_are_those_rows() -> None:
    whole = results(ROWS)
    assert whole.part(arm="b").turns["v"].tolist() == list(range(8, 16))
    assert whole.part(arm="b", call=0).calls["status"].tolist() == ["failed"]
    assert list(whole.arms) == ["a", "b"]
    assert whole.arms["a"].turns["v"].tolist() == list(range(8))
    assert whole.simulated_s == 3.5
    assert whole.failed["arm"].tolist() == ["b"]
    with pytest.raises(ValueError, match="no row has arm='c'; there are a, b"):
        whole.part(arm="c")
    with pytest.raises(KeyError, match="no column 'arms'"):
        whole.part(arms="a")


def test_tables_are_read_back_as_they_were_saved(tmp_path: Path) -> None:
    whole = results(ROWS)
    whole.save(tmp_path / "new" / "turns.parquet")
    again = Results.load(tmp_path / "new" / "turns.parquet")
    pd.testing.assert_frame_equal(again.turns, whole.turns)
    pd.testing.assert_frame_equal(again.calls, whole.calls)
    assert (again.provenance, again.digest) == ({"seed": 7}, whole.digest)
    with pytest.raises(UsageError, match=r"out=turns\.csv: the name must end in \.parquet"):
        checked_path("turns.csv")


# ------------------------------------------------------------------- points and grids

WORD = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
VALUE = st.from_regex(r"[A-Za-z0-9.:/_-]{1,8}", fullmatch=True)


@given(st.dictionaries(WORD, st.lists(VALUE, min_size=1, max_size=4), max_size=4))
def test_a_grid_is_every_combination_in_order(grid: dict[str, list[str]]) -> None:
    assert _grid([f" {name} = {' , '.join(values)} " for name, values in grid.items()]) == grid
    found = places(grid, [])
    assert len(found) == math.prod(map(len, grid.values()))
    assert [tuple(p.values()) for p in found] == list(itertools.product(*grid.values()))
    assert all(list(place) == list(grid) for place in found)
    single: list[dict[str, object]] = [{"x": 1}, {"y": 2}]
    assert places(grid, single) == ([*found, *single] if grid else single)


@example("a=")
@example("a=1,,2")
@example("=1")
@given(st.text().filter(lambda t: "=" not in t))
def test_what_is_no_grid_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write it as NAME=A,B,…"):
        _grid([text])


@given(VALUE, st.dictionaries(WORD, VALUE, max_size=4))
def test_an_arm_is_its_agent_and_changes(agent: str, changes: dict[str, str]) -> None:
    text = f"{agent}@{','.join(f'{k}={v}' for k, v in changes.items())}"
    assert Arm.parse(text) == Arm(agent, changes)
    assert Arm.parse(agent) == Arm(agent)


@given(
    st.lists(
        st.dictionaries(st.lists(WORD, min_size=1, max_size=3).map(tuple),
                        st.integers(-99, 99) | st.booleans() | VALUE, min_size=1, max_size=3),
        min_size=1, max_size=3,
    )
)  # fmt: skip
@effort(max_examples=40)
def test_points_of_a_file_have_dotted_names(tmp_path_factory, points: list[dict]) -> None:
    points = [  # TOML has no name that is a value and a table at once
        {k: v for k, v in p.items() if not any(o != k and o[: len(k)] == k for o in p)}
        for p in points
    ]
    lines = []
    for point in points:
        lines.append("[[point]]")
        lines += [f"{'.'.join(k)} = {json.dumps(v)}" for k, v in point.items()]
    file = tmp_path_factory.mktemp("points") / "points.toml"
    file.write_text("\n".join(lines))
    found = load_points(file)
    assert found == [{".".join(k): v for k, v in point.items()} for point in points]


def test_what_happened_in_several_calls_is_said_once() -> None:
    said = [[{"act": "track", "t_s": 0.0}, "a"], ["a", {"act": "track", "t_s": 0.2}, "b"], None]
    calls = pd.DataFrame({"room": [json.dumps(s) if s else "" for s in said]})
    assert each_once(calls, "room") == [{"act": "track", "t_s": 0.0}, "a", "b"]
