"""Reads which settings an agent file accepts from its job's metadata.

A file that reads its job's metadata says so with a literal at its top level::

    PARAMETERS = {"agent.threshold": 0.3}       # its own keys, with their defaults
    OPTIONS = ("llm", "session.turn_handling")  # what it takes of the SDK's options

    DEPLOYMENT = "hosted"                       # where it runs, if the setting does not say

``PARAMETERS`` may be empty. Without ``OPTIONS`` the file takes all of them, which is so if it makes
its session with ``vanilla.build_session``. A file without ``PARAMETERS`` is told nothing: settings
are applied to its session from outside. The file is read, not executed, so that settings can be
checked before any worker starts.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from labkit.errors import hint
from labkit.settings import SETTINGS, SettingError, Settings, Value

_FORM = 'PARAMETERS = {"agent.NAME": default}'


@dataclass(frozen=True)
class Declaration:
    """What a file accepts from its job's metadata.

    Attributes:
        parameters: Its own parameters and their defaults, by dotted name.
        options: Prefixes of the ``sdk`` paths that it accepts.
    """

    parameters: Mapping[str, Value]
    options: tuple[str, ...] = ("",)

    def takes(self, sdk: str) -> bool:
        """Whether it accepts the option at a path such as ``session.turn_handling``."""
        return any(not o or f"{sdk}.".startswith(f"{o}.") for o in self.options)


def declaration(path: Path) -> Declaration | None:
    """What an agent file declares; None if it declares nothing.

    Raises:
        SettingError: the file is not valid Python, or a declaration is not of the form above.
    """
    return _read(path.name, path.read_bytes())


def deployment(path: Path, settings: Settings) -> str:
    """Where an agent runs: as the setting says, else its file, else ``self-hosted``.

    Raises:
        SettingError: the file says something else than the setting allows.
    """
    setting = SETTINGS["deployment"]
    if settings["deployment"] is not None:
        return settings.text("deployment")
    found = _literals(path.name, path.read_bytes()).get("DEPLOYMENT")
    if found is None:
        return setting.choices[0]
    form = 'DEPLOYMENT = "hosted"'
    return str(setting.parse(_literal(path.name, "DEPLOYMENT", found, form)))


@lru_cache(maxsize=64)
def _literals(file: str, source: bytes) -> dict[str, ast.expr]:
    """What a file declares at its top level, by name."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError) as e:
        raise SettingError(f"{file}:{getattr(e, 'lineno', 1)}: {e}") from e
    return {
        target.id: node.value
        for node in body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id in ("PARAMETERS", "OPTIONS", "DEPLOYMENT")
    }


@lru_cache(maxsize=64)
def _read(file: str, source: bytes) -> Declaration | None:
    found = _literals(file, source)
    if "PARAMETERS" not in found:
        return None
    parameters = _literal(file, "PARAMETERS", found["PARAMETERS"], _FORM)
    if not isinstance(parameters, dict) or not all(
        isinstance(n, str) and n.startswith("agent.") for n in parameters
    ):
        raise SettingError(
            f"{file}: PARAMETERS must be a dict whose keys begin with agent.: {_FORM}"
        )
    if "OPTIONS" not in found:
        return Declaration(parameters)
    form = 'OPTIONS = ("session", "llm.model")'
    options = _literal(file, "OPTIONS", found["OPTIONS"], form)
    paths = [s.sdk for s in SETTINGS.values() if s.sdk]
    for option in options if isinstance(options, (tuple, list)) else [options]:
        if not any(f"{path}.".startswith(f"{option}.") for path in paths):
            raise SettingError(
                f"{file}: OPTIONS has {option!r}; expected paths such as {form}; "
                "`labkit config --json` lists them as sdk"
            )
    return Declaration(parameters, tuple(options))


def _literal(file: str, name: str, node: ast.expr, form: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise SettingError(
            f"{file}:{node.lineno}: {name} is read without running the file, so write it as a "
            f"literal: {form}"
        ) from None


def check_parameters(path: Path, settings: Settings) -> None:
    """Refuses settings of the agent that its file does not declare.

    (For a file that declares nothing, its session says what cannot be set from outside.)

    Raises:
        SettingError: names the setting, what the file accepts, and the closest match.
    """
    declared = declaration(path)
    if declared is None:
        for name, value in settings.parameters.items():
            raise SettingError(
                f"{name}: {path.name} declares no parameters; declare it there with its default, "
                f"PARAMETERS = {{{name!r}: {value!r}}}, and read it from json.loads("
                "ctx.job.metadata)"
            )
        return
    for name, value in settings.parameters.items():
        if name not in declared.parameters:
            raise _refusal(path.name, "parameter", name, list(declared.parameters))
        _check_kind(name, value, declared.parameters[name])
    takes = [n for n, s in SETTINGS.items() if s.sdk and declared.takes(s.sdk)]
    for name in settings.changes:
        if SETTINGS[name].sdk and name not in takes:
            raise _refusal(path.name, "setting", name, takes)


def _refusal(file: str, kind: str, name: str, known: list[str]) -> SettingError:
    accepted = ", ".join(sorted(known)) or "none"
    return SettingError(
        f"{file} does not accept {kind} {name!r}{hint(name, known)}; accepted: {accepted}"
    )


def _check_kind(name: str, value: Value, default: Value) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise SettingError(f"{name}={value}: must be true or false")
    elif isinstance(default, (int, float)) and not number:
        raise SettingError(f"{name}={value}: expected a number, such as {default:g}")
