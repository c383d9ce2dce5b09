"""Loads an ordinary LiveKit agent file, once per process, and finds what it would run.

The file is executed as ``__main__``, as ``python agent.py dev`` would, but ``cli.run_app`` only
takes note of the ``AgentServer`` or ``WorkerOptions`` it is given.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import UsageError, hint
from labkit.paths import agents_dir
from labkit.tunnel.declaration import Declaration, declaration

_PLUGIN = re.compile(
    r"No module named 'livekit\.plugins\.(\w+)|cannot import name '(\w+)' from 'livekit\.plugins'"
)
_RELATIVE = re.compile(rb"^[ \t]*from[ \t]+(\.+)", re.MULTILINE)


class AgentFileError(UsageError):
    """An agent that cannot be found or loaded; the message says what was given and what to do."""


def builtin_agents() -> list[str]:
    """Names of the built-in agents."""
    return sorted(p.stem for p in agents_dir().glob("*.py") if not p.stem.startswith("_"))


def find_agent(name: str) -> tuple[Path, str]:
    """The file of an agent and the object to take from it (empty: what it gives to ``run_app``).

    Args:
        name: A built-in agent's name, ``path.py`` or ``path.py:object``.

    Raises:
        AgentFileError: there is no such agent.
    """
    text, _, wanted = name.partition(":")
    if text.endswith(".py"):
        path = Path(text).expanduser().resolve()
        if not path.is_file():
            raise AgentFileError(f"no agent file {text}; give a path to a .py file that exists")
        return path, wanted
    path = agents_dir() / f"{text.replace('-', '_')}.py"
    if text.startswith("_") or not path.is_file():
        known = builtin_agents()
        raise AgentFileError(
            f"unknown agent {name!r}{hint(text, known)}: built-in are {', '.join(known)}; your own "
            "is a path ending in .py, or path.py:object"
        )
    return path, wanted


@dataclass(frozen=True)
class LoadedAgent:
    """What a job process needs of an agent file.

    Attributes:
        path: The file.
        entrypoint: Runs one job.
        prewarm: Runs before the first job of a process.
        session_end: Runs when the session of a job has ended.
        declaration: What the file accepts from its job's metadata.
        request: Accepts or rejects a job; None accepts.
        name: The name by which the agent would be dispatched.
    """

    path: Path
    entrypoint: Callable[[Any], Awaitable[None]]
    prewarm: Callable[[Any], Any] | None
    session_end: Callable[[Any], Awaitable[None]] | None
    declaration: Declaration | None
    request: Callable[[Any], Awaitable[None]] | None = None
    name: str = ""


def _code(path: Path) -> types.CodeType:
    try:
        return compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError as e:
        raise AgentFileError(f"{path}:{e.lineno}: {e.msg}") from e
    except ValueError as e:
        raise AgentFileError(f"{path}: {e}") from e


def load_agent(name: str) -> LoadedAgent:
    """Executes an agent file, as each job process does.

    Raises:
        AgentFileError: there is no such file, it fails while loading, or it starts no agent.
    """
    from livekit.agents import AgentServer, cli
    from livekit.agents.worker import ServerOptions

    from labkit.tunnel import sdk

    path, wanted = find_agent(name)
    code = _code(path)
    taken: list[Any] = []
    module = types.ModuleType("__main__")
    module.__file__ = str(path)
    main_before, argv_before, run_app = sys.modules["__main__"], sys.argv, cli.run_app
    sys.path.insert(0, str(path.parent))  # and it stays: entrypoints import things too
    if package := package_of(path):
        # as ``python -m package.agent`` does
        module.__package__ = package
        sys.path.insert(0, str(path.parents[package.count(".") + 1]))
    sys.modules["__main__"], sys.argv = module, [str(path), "start"]
    cli.run_app = taken.append  # type: ignore[assignment]
    try:
        exec(code, module.__dict__)
    except BaseException as e:
        advice = _install(e) or (
            f"; `labkit doctor {path}` says what it needs" if isinstance(e, ImportError) else ""
        )
        text = f"{path} failed while loading: {type(e).__name__}: {e}{advice}"
        raise AgentFileError(text) from e
    finally:
        sys.modules["__main__"], sys.argv, cli.run_app = main_before, argv_before, run_app

    app = _chosen(path, wanted, taken, module.__dict__)
    server = AgentServer.from_server_options(app) if isinstance(app, ServerOptions) else app
    entrypoint = sdk.entrypoint(server) if isinstance(server, AgentServer) else None
    if entrypoint is None and callable(app):
        return LoadedAgent(path, app, None, None, declaration(path))
    if entrypoint is None:
        raise AgentFileError(
            f"{path} starts no agent: call cli.run_app(WorkerOptions(entrypoint_fnc=…)) under "
            "__main__, register @server.rtc_session on an AgentServer, or name the object as "
            "path.py:object"
        )
    assert isinstance(server, AgentServer)
    return LoadedAgent(
        path, entrypoint, server.setup_fnc, sdk.session_end(server), declaration(path),
        sdk.request_fnc(server), sdk.agent_name(server),
    )  # fmt: skip


def _install(error: BaseException) -> str:
    """What to install when a plugin of LiveKit's is missing; empty for other errors."""
    if not isinstance(error, ImportError):
        return ""
    named = _PLUGIN.search(str(error))
    if named is None:
        return ""
    plugin = (named[1] or named[2]).replace("_", "-")
    return f": install it with `pip install livekit-plugins-{plugin}`"


def _chosen(path: Path, wanted: str, taken: list[Any], names: dict[str, Any]) -> Any:
    """What a file would run: the object that is asked for, what it gave to ``run_app``, a server.

    A server is also found by its agent's name and by the function that it runs.

    Raises:
        AgentFileError: there is no such object, or several servers and no word on which.
    """
    from livekit.agents import AgentServer

    from labkit.tunnel import sdk

    servers = {k: v for k, v in names.items() if isinstance(v, AgentServer)}
    runs = {k: sdk.entrypoint(v) for k, v in servers.items()}
    if not wanted:
        if taken:
            return taken[0]
        ready = {id(servers[k]): k for k, run in runs.items() if run is not None}
        if len(ready) > 1:
            raise AgentFileError(
                f"{path} has several agent servers ({', '.join(ready.values())}) and gives none to "
                f"cli.run_app: choose one as {path.name}:{next(iter(ready.values()))}"
            )
        return servers[next(iter(ready.values()))] if ready else None
    if wanted in names:
        app = names[wanted]
        return next((servers[k] for k, run in runs.items() if run is app and app), app)
    for server in servers.values():
        if sdk.agent_name(server) == wanted:
            return server
    known = sorted({*servers, *filter(None, map(sdk.agent_name, servers.values()))})
    named = f"; its agent servers are {', '.join(known)}" if known else ""
    raise AgentFileError(f"{path} has no {wanted!r}{hint(wanted, known)}{named}")


def package_of(path: Path) -> str:
    """The dotted name of the package that a file is part of; empty if it is none of a package.

    It is of one if an ``__init__.py`` lies beside it, or if it imports relative to itself.
    """
    folders: list[str] = []
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        folders.insert(0, folder.name)
        folder = folder.parent
    if not folders and (levels := _RELATIVE.findall(path.read_bytes())):
        deepest = max(map(len, levels))
        folders = [p.name for p in reversed(path.parents[:deepest]) if p.name.isidentifier()]
    return ".".join(folders)
