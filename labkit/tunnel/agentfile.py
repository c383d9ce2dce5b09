"""Loads an ordinary LiveKit agent file, once per process, and finds what it would run.

The file is executed as ``__main__``, as ``python agent.py dev`` would, but ``cli.run_app`` only
takes note of the ``AgentServer`` or ``WorkerOptions`` it is given.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import UsageError, hint
from labkit.paths import agents_dir
from labkit.tunnel.declaration import Declaration, declaration


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
    """What a job process needs of an agent file."""

    path: Path
    entrypoint: Callable[[Any], Awaitable[None]]
    prewarm: Callable[[Any], Any] | None
    session_end: Callable[[Any], Awaitable[None]] | None
    declaration: Declaration | None


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
    sys.modules["__main__"], sys.argv = module, [str(path), "start"]
    cli.run_app = taken.append  # type: ignore[assignment]
    try:
        exec(code, module.__dict__)
    except BaseException as e:
        raise AgentFileError(f"{path} failed while loading: {type(e).__name__}: {e}") from e
    finally:
        sys.modules["__main__"], sys.argv, cli.run_app = main_before, argv_before, run_app

    app = taken[0] if taken else None
    if wanted:
        if wanted not in module.__dict__:
            raise AgentFileError(f"{path} has no {wanted!r}")
        app = module.__dict__[wanted]
    elif app is None:
        app = next((v for v in module.__dict__.values() if isinstance(v, AgentServer)), None)
    if isinstance(app, ServerOptions):
        app = AgentServer.from_server_options(app)
    if isinstance(app, AgentServer):
        entrypoint, prewarm, session_end = sdk.entrypoint(app), app.setup_fnc, sdk.session_end(app)
    elif callable(app):
        entrypoint, prewarm, session_end = app, None, None
    else:
        entrypoint = None
    if entrypoint is None:
        raise AgentFileError(
            f"{path} starts no agent: call cli.run_app(WorkerOptions(entrypoint_fnc=…)) under "
            "__main__, register @server.rtc_session on an AgentServer, or name the object as "
            "path.py:object"
        )
    return LoadedAgent(path, entrypoint, prewarm, session_end, declaration(path))
