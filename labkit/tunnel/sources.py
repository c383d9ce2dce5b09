"""The files of an agent: one file and the modules beside it that it imports.

Their text is part of the key of stored results.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

from labkit.tunnel.agentfile import AgentFileError, package_of

_FILE_NAME = re.compile(r"[\w.-]+\.\w+")


def source_files(path: Path) -> list[Path]:
    """An agent file and what lies beside it that it imports or names, directly or not.

    Data files count if their names stand in the code: ``Path(__file__).with_name("known.json")``.

    Raises:
        AgentFileError: a file is not valid Python.
    """
    found = [path]
    # of a package the modules are named from above it, too
    package = package_of(path)
    roots = [path.parent, *([path.parents[package.count(".") + 1]] if package else [])]
    for file in found:  # grows while it is read
        if file.suffix != ".py":
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError as e:
            raise AgentFileError(f"{file}:{e.lineno}: {e.msg}") from e
        named = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and _FILE_NAME.fullmatch(str(node.value)):
                named.append(path.parent / str(node.value))
            for name in imported(node):
                for root in roots:
                    beside = root.joinpath(*name.split("."))
                    named += [beside.with_suffix(".py"), beside / "__init__.py"]
            named += _relative(file, node)
        for candidate in named:
            if candidate.is_file() and candidate not in found:
                found.append(candidate)
    return found


def _relative(file: Path, node: ast.AST) -> list[Path]:
    """The files that a relative import of a module may name."""
    if not isinstance(node, ast.ImportFrom) or not node.level:
        return []
    folder = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
    names = [folder, *(folder / alias.name for alias in node.names)]
    return [f for n in names for f in (n.with_suffix(".py"), n / "__init__.py")]


def imported(node: ast.AST) -> list[str]:
    """What an import statement may import, by absolute name; of other nodes nothing."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def installed_imports(path: Path) -> list[str]:
    """The modules that an agent's files import and that do not lie beside them, in order."""
    found: dict[str, None] = {}
    for file in (f for f in source_files(path) if f.suffix == ".py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            found |= dict.fromkeys(imported(node))
    return [name for name in found if not _beside(path, name) and _is_module(name)]


def _beside(path: Path, name: str) -> bool:
    top = path.parent / name.partition(".")[0]
    return top.is_dir() or top.with_suffix(".py").is_file()


def _is_module(name: str) -> bool:
    """Whether it can be found; of ``from package import name`` the name may be anything."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, AttributeError, ValueError):
        return False


def line_that_names(path: Path, text: str) -> str:
    """Where an agent's files first mention a text, as ``file:line``; empty if nowhere."""
    for file in (f for f in source_files(path) if f.suffix == ".py"):  # data may be no text
        for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
            if text in line:
                return f"{file}:{number}"
    return ""
