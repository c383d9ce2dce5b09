"""The walls of the house: who may import whom, and what the project says about itself."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "labkit"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()

# ---------------------------------------------------------------------------- imports

LAYERS = (
    ("__main__",),
    ("cli",),
    ("doctor",),
    ("needs",),
    ("__init__",),
    ("explorer",),
    ("site",),
    ("studies",),
    ("report",),
    ("evidence",),
    ("engine",),
    ("measure",),
    ("tunnel",),
    ("providers",),
    ("callers",),
    ("world",),
    ("settings",),
    ("cachefile",),
    ("errors", "paths", "randomness"),
)
"""From top to bottom. A part imports from itself and from those beneath it, and from no other."""

WALLS = {
    "livekit": (
        "agents/*.py",
        "providers/livekit/eot.py",
        "tunnel/agentfile.py",
        "tunnel/audio.py",
        "tunnel/detector.py",
        "tunnel/events.py",
        "tunnel/faults.py",
        "tunnel/inference.py",
        "tunnel/job.py",
        "tunnel/room.py",
        "tunnel/room_*.py",
        "tunnel/visitor.py",
        "tunnel/override.py",
        "tunnel/preconnect.py",
        "tunnel/sdk.py",
    ),
    "matplotlib": ("report/*.py", "studies/*.py", "explorer/*.py"),
    "seaborn": ("report/*.py", "studies/*.py"),
    "papermill": ("site/notebooks.py",),
    "nbconvert": ("site/export.py",),
    "typer": ("cli/*.py",),
}
"""Packages that only these files import."""

MODULES = sorted(PACKAGE.rglob("*.py"))


@lru_cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, at its top or inside a function."""
    return tuple(_imports(ast.parse(path.read_text(), str(path))))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module
            # `from labkit import study` and `from labkit.providers import scene` name modules too.
            if module.split(".")[0] == "labkit":
                yield from (f"{module}.{alias.name}" for alias in node.names)


def part(module: str) -> str | None:
    """The part of labkit that a dotted module name belongs to."""
    names = module.split(".")
    if names[0] != "labkit" or len(names) == 1:
        return None
    return names[1]


def layer(name: str) -> int | None:
    return next((i for i, names in enumerate(LAYERS) if name in names), None)


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_every_module_has_a_place_in_the_layers() -> None:
    parts = {relative(path).split("/")[0].removesuffix(".py") for path in MODULES}
    placed = {name for names in LAYERS for name in names} | {"agents"}
    assert parts <= placed, f"give {sorted(parts - placed)} a layer"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_downwards(path: Path) -> None:
    own = relative(path).split("/")[0].removesuffix(".py")
    used = {p for p in map(part, imports(path)) if p is not None and p != own}
    if own == "agents":
        assert not used, f"an agent file is taken home without labkit, but imports {sorted(used)}"
        return
    assert "agents" not in used, "agents are loaded as files, never imported"
    depth = layer(own)
    assert depth is not None
    above = sorted(p for p in used if (at := layer(p)) is not None and at <= depth)
    assert not above, f"{own} imports {above}, which do not lie beneath it"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for types alone count too: a circle of types is a circle of ideas."""
    names = {f"labkit.{relative(p).removesuffix('.py').replace('/', '.')}": p for p in MODULES}
    names |= {n.removesuffix(".__init__"): p for n, p in names.items() if n.endswith("__init__")}
    reached = {n: {i for i in imports(p) if i in names and i != n} for n, p in names.items()}
    while True:
        before = sum(map(len, reached.values()))
        reached = {n: {*to, *(far for near in to for far in reached[near])} for n, to in
                   reached.items()}  # fmt: skip
        if sum(map(len, reached.values())) == before:
            break
    assert not sorted(n for n, to in reached.items() if n in to), "these import themselves"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_are_absolute(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not [n.lineno for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level]


@pytest.mark.parametrize("package", WALLS)
def test_a_package_stays_behind_its_wall(package: str) -> None:
    found = [relative(p) for p in MODULES if any(i.split(".")[0] == package for i in imports(p))]
    outside = [p for p in found if not any(fnmatch(p, allowed) for allowed in WALLS[package])]
    assert not outside, f"{outside} import {package}; only {WALLS[package]} may"


NAMES_PROVIDERS = (
    "providers/*",
    "agents/*",
    "settings*",
    # their question is what one provider does that another does not
    "studies/endpointing.py",
    "studies/history.py",
    "studies/preemption.py",
    "studies/prefix_cache.py",
    "studies/regions.py",
)
"""Where providers may be named."""


def provider_names() -> re.Pattern[str]:
    """Matches the providers' names, and those of their models."""
    from labkit.providers.profile import load_profiles
    from labkit.providers.registry import PROVIDERS

    profiles = load_profiles()
    # that of LiveKit's gateway is its SDK's as well, which the whole of the tunnel talks about
    names = {*PROVIDERS, "claude", "flux", "gpt", "nova", "sonic"} - {"livekit"}
    names |= {model for provider in PROVIDERS for model in profiles[provider].names("models")}
    return re.compile(rf"(?<![a-z])({'|'.join(map(re.escape, names))})(?![a-z])", re.IGNORECASE)


def spelt(path: Path) -> Iterator[tuple[int, str]]:
    """Every identifier and string of a file with its line; docstrings may give examples."""
    tree = ast.parse(path.read_text())
    docstrings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for field in ("id", "attr", "name", "arg", "module", "asname"):
            if isinstance(text := getattr(node, field, None), str):
                yield line, text
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node not in docstrings:
                yield line, node.value


def test_no_module_outside_their_own_names_a_provider() -> None:
    pattern, naming = provider_names(), {}
    for path in MODULES:
        if not any(fnmatch(relative(path), allowed) for allowed in NAMES_PROVIDERS):
            # google.protobuf is a format, and no provider
            said = [(n, text.replace("google.protobuf", "")) for n, text in spelt(path)]
            found = [f"{line}: {text}" for line, text in said if pattern.search(text)]
            if found:
                naming[relative(path)] = found
    assert not naming, "ask by role: labkit.world.events.Role, labkit.settings.roles"


def test_importing_labkit_leaves_the_clock_and_livekit_alone() -> None:
    probe = """
import json, sys, time
before = time.time, time.monotonic, time.perf_counter
import labkit
heavy = [n for n in ("livekit", "matplotlib", "papermill", "aiohttp") if n in sys.modules]
same = before == (time.time, time.monotonic, time.perf_counter)
print(json.dumps({"heavy": heavy, "same": same}))
"""
    found = json.loads(_python("-c", probe))
    assert found == {"heavy": [], "same": True}


# ---------------------------------------------------------------------------- public names


def test_public_names_are_sorted_and_exist() -> None:
    labkit = importlib.import_module("labkit")
    names = list(getattr(labkit, "__all__", []))
    assert names == sorted(names)
    assert len(names) <= 24, "what one study needs is imported from labkit.studies"
    assert len(names) == len(set(names))
    assert [n for n in names if not hasattr(labkit, n)] == []
    assert not [n for n in names if n.startswith("_")]


def test_nothing_is_public_by_accident() -> None:
    probe = """
import json, types
import labkit
named = {*getattr(labkit, "__all__", []), "annotations", "Any", "TYPE_CHECKING"}
print(json.dumps(sorted(
    name for name, value in vars(labkit).items()
    if not name.startswith("_") and name not in named
    and not isinstance(value, types.ModuleType)
)))
"""
    assert json.loads(_python("-c", probe)) == []


# ---------------------------------------------------------------------------- packages


def _requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(r) for group in (PROJECT["dependencies"], *extras) for r in group]


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    wrong = [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)]
    assert not wrong, f"constraints.txt holds plain name==version lines, not {wrong}"
    return {canonicalize_name(name): version for name, version in (p.split("==") for p in pins)}


def test_constraints_pin_every_requirement_inside_its_range() -> None:
    pins = _pins()
    for requirement in _requirements():
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"run `make lock`: {requirement.name} has no pin"
        assert requirement.specifier.contains(pin), f"run `make lock`: {requirement} and =={pin}"


def test_requirements_have_both_ends() -> None:
    for requirement in _requirements():
        operators = {clause.operator for clause in requirement.specifier}
        assert operators & {">=", "=="}, f"{requirement} has no lower end"
        assert operators & {"<", "=="}, f"{requirement} has no upper end"


@pytest.mark.parametrize("python", ["3.11.2", "3.12.0", "3.13.0"])
def test_pins_install_on_the_oldest_pythons(python: str) -> None:
    """3.11.2 is Debian 12's; a lock made with a newer one can pin what that one refuses."""
    refused = []
    for distribution in importlib.metadata.distributions():
        if distribution.metadata["Name"] == "labkit":
            continue  # its range is the one in pyproject.toml
        needs = distribution.metadata.get("Requires-Python") or ""
        if not SpecifierSet(needs).contains(python):
            refused.append(f"{distribution.metadata['Name']} {distribution.version} ({needs})")
    assert not refused, f"run `make lock` with Python {python}"


def test_every_imported_package_is_a_requirement() -> None:
    extras = [PROJECT["optional-dependencies"][name] for name in ("voices", "cerebras")]
    wanted = [*PROJECT["dependencies"], *(need for extra in extras for need in extra)]
    declared = {canonicalize_name(Requirement(r).name) for r in wanted}
    owners = importlib.metadata.packages_distributions()
    known = {*sys.stdlib_module_names, "labkit", ""}
    missing = set()
    for path in MODULES:
        # an agent file may lie beside another one that it uses, and is loaded from its folder
        beside = {p.stem for p in path.parent.glob("*.py")} if path.parent.name == "agents" else ()
        for module in imports(path):
            top = module.split(".")[0]
            if top in beside:
                continue
            distributions = {canonicalize_name(d) for d in owners.get(top, [top])}
            if top not in known and not distributions & declared:
                missing.add(f"{relative(path)}: {top}")
    assert not missing, f"pyproject.toml does not name {sorted(missing)}"


def test_version_is_the_changelogs() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    released = re.search(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert released is not None
    assert released[1] == PROJECT["version"] == importlib.metadata.version("labkit")


def test_changelog_keeps_its_form() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    kinds = re.findall(r"^### (.+)$", changelog, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for heading in re.findall(r"^## (.+)$", changelog, re.MULTILINE):
        assert re.fullmatch(r"\[(Unreleased|\d+\.\d+\.\d+)\]( - \d{4}-\d\d-\d\d)?", heading)


# ---------------------------------------------------------------------------- what it says


def _commands(text: str, word: str) -> set[str]:
    """What follows ``word`` at the start of a code line or of inline code."""
    return set(re.findall(rf"(?:^|`|bin/|VENV/){word} ([a-z][a-z-]*)", text, re.MULTILINE))


DOCUMENTS = (
    README,
    (ROOT / "CONTRIBUTING.md").read_text(),
    (ROOT / "CHANGELOG.md").read_text(),
    (ROOT / ".pre-commit-config.yaml").read_text(),
)


def test_make_targets_named_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    named = set().union(*(_commands(text, "make") for text in DOCUMENTS))
    assert {"report", "test", "install"} <= named
    assert named <= targets


def test_every_make_target_is_phony_and_explained() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert targets == set(phony[1].split())
    assert targets == set(re.findall(r"^([a-z-]+):[^#]*## \S", MAKEFILE, re.MULTILINE))


def test_commands_named_in_documents_exist() -> None:
    import typer.main

    from labkit.cli import app

    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = set().union(*(_commands(text, "labkit") for text in DOCUMENTS))
    assert named <= commands, f"no such command: {sorted(named - commands)}"
    assert set(_commands(README, "labkit")) == commands, "the README's table has every command"


def test_settings_named_in_the_readme_exist() -> None:
    from labkit.settings import Settings, parse_assignments

    given = re.findall(r"--set (\S+=\S+)", README)
    assert given
    for assignment in given:
        Settings(parse_assignments([assignment]))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)\)", (ROOT / name).read_text())
    local = [t for t in targets if not t.startswith(("https://", "http://"))]
    assert [t for t in local if not (ROOT / t).exists()] == []


def test_tree_in_the_readme_is_the_tree() -> None:
    block = re.search(r"^labkit/\n((?:.+\n)+?)```", README, re.MULTILINE)
    assert block is not None
    inner = re.findall(r"^  (\w+)/ ", block[1], re.MULTILINE)
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and not p.name.startswith("_")}
    assert set(inner) == folders
    for top in re.findall(r"^([\w.]+)/? ", block[1], re.MULTILINE):
        assert (ROOT / top).exists(), f"the README shows {top}"


# ---------------------------------------------------------------------------- installed


def _python(*arguments: str, cwd: Path = ROOT, path: Path | None = None) -> str:
    """Runs this interpreter and returns what it prints."""
    environment = {"PYTHONPATH": str(path)} if path else None
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with the installed backend, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    _python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_has_the_package_and_its_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = (p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    code = {p.relative_to(ROOT).as_posix() for p in files}
    kept = (".toml", ".csv", ".flac", ".ogg")
    data = {
        f"labkit/_data/{p.relative_to(ROOT / 'data').as_posix()}"
        for p in (ROOT / "data").rglob("*")
        if p.suffix in kept
    }
    assert code <= names
    assert data
    assert data <= names
    strangers = {n for n in names if not n.startswith(("labkit/", "labkit-"))}
    assert not strangers
    assert not [n for n in names if n.startswith("labkit/_data/") and n.endswith(".py")]


def test_data_and_agents_are_found_when_installed(wheel: Path, tmp_path: Path) -> None:
    from labkit.providers.compatible.hosts import HOSTS

    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    probe = """
import json
from labkit.paths import agents_dir, data_dir
from labkit.world.dialogue import load_dialogues
from labkit.providers.profile import load_profiles
print(json.dumps([str(data_dir()), str(agents_dir()), len(load_dialogues()), len(load_profiles())]))
"""
    data, agents, dialogues, profiles = json.loads(_python("-c", probe, cwd=tmp_path, path=site))
    assert Path(data) == site / "labkit" / "_data"
    assert Path(agents) == site / "labkit" / "agents"
    assert dialogues == len(list((ROOT / "data/dialogues").glob("*.toml"))) - 1  # intents.toml
    files = len(list((ROOT / "data/providers").glob("*.toml")))
    assert profiles == files - 1 + len(HOSTS)  # one file holds them all


def test_data_is_found_in_a_checkout() -> None:
    from labkit.paths import data_dir

    assert data_dir() == ROOT / "data"
