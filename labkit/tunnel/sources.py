"""What an agent file consists of, and which parameters it reads.

An agent is one file and the modules beside it that it imports. Their text is what is hashed when
results are kept, and where parameters that no setting declares are looked up.
"""

from __future__ import annotations

import ast
import difflib
import re
from pathlib import Path

from labkit.settings import SETTINGS, SettingError, Settings
from labkit.tunnel.agentfile import READS_METADATA, AgentFileError, find_agent

_FILE_NAME = re.compile(r"[\w.-]+\.\w+")


def source_files(path: Path) -> list[Path]:
    """An agent file and what lies beside it that it imports or names, directly or not.

    Data files count if their names stand in the code: ``Path(__file__).with_name("known.json")``.

    Raises:
        AgentFileError: a file is not valid Python.
    """
    found = [path]
    for file in found:  # grows while it is read
        if file.suffix != ".py":
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except SyntaxError as e:
            raise AgentFileError(f"{file}:{e.lineno}: {e.msg}") from e
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
            if isinstance(node, ast.Constant) and _FILE_NAME.fullmatch(str(node.value)):
                data = path.parent / str(node.value)
                if data.is_file() and data not in found:
                    found.append(data)
            for name in names:
                beside = path.parent.joinpath(*name.split("."))
                for candidate in (beside.with_suffix(".py"), beside / "__init__.py"):
                    if candidate.is_file() and candidate not in found:
                        found.append(candidate)
    return found


def line_that_names(path: Path, text: str) -> str:
    """Where an agent's files first mention a text, as ``file:line``; empty if nowhere."""
    for file in (f for f in source_files(path) if f.suffix == ".py"):  # data may be no text
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if text in line:
                return f"{file}:{number}"
    return ""


def check_parameters(agent: str, settings: Settings) -> None:
    """Refuses what is meant for the agent but is read nowhere in its files.

    That is ``agent.NAME`` parameters and, for a file that reads its settings from the job's
    metadata, those too. (What a file that does not is told is set on its session.)

    Raises:
        SettingError: names the setting, those that the file reads, and the closest match.
    """
    told = [name for name in settings.changes if SETTINGS[name].agent and name != "agent.greets"]
    if not settings.parameters and not told:
        return
    path, _ = find_agent(agent)
    known = sorted(n for n in _words(path) if n in SETTINGS or re.fullmatch(r"agent\.[\w.]+", n))
    if READS_METADATA not in path.read_text(encoding="utf-8"):
        told = []
    for name in (*settings.parameters, *told):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            kind = "parameter" if name in settings.parameters else "setting"
            raise SettingError(
                f"{path.name} reads no {kind} {name!r}{hint}; it reads {', '.join(known) or 'none'}"
            )


def _words(path: Path) -> set[str]:
    """All texts in an agent file, and in what it takes from modules beside it."""
    found: set[str] = set()
    wanted = [(path, "")]  # a file, and what is taken from it; all of it if that is empty
    for file, name in wanted:  # grows while it is read
        body = ast.parse(file.read_text(encoding="utf-8")).body
        taken = _taken(body, path.parent)
        used = [] if name else list(taken.values())
        for node in body:
            if name and name not in _defined(node):
                continue
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    found.add(part.value)
                elif isinstance(part, ast.Name) and name:
                    used.append(taken.get(part.id, (file, part.id)))
        wanted += [use for use in dict.fromkeys(used) if use not in wanted]
    return found


def _taken(body: list[ast.stmt], folder: Path) -> dict[str, tuple[Path, str]]:
    """What a module imports from others in the folder, by the names it gives them."""
    taken: dict[str, tuple[Path, str]] = {}

    def take(module: str, alias: ast.alias, name: str) -> None:
        file = folder.joinpath(*module.split(".")).with_suffix(".py")
        if file.is_file():
            taken[alias.asname or alias.name] = (file, name)

    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                take(node.module, alias, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                take(alias.name, alias, "")
    return taken


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    return {
        n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
