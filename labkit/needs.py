"""What an agent file needs, read from its text before anything runs, and whether it is here.

Read are imports, the classes of LiveKit plugins that are made, and the models they are given as
texts. What a file computes, or takes from its environment, is not seen.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labkit.errors import hint
from labkit.providers.compatible.hosts import HELPERS
from labkit.providers.profile import load_profiles
from labkit.providers.registry import PROVIDERS, emulators
from labkit.tunnel.agentfile import find_agent
from labkit.tunnel.sources import imported, source_files
from labkit.tunnel.unserved import AVATAR, REALTIME

_PLUGINS = "livekit.plugins"
_LOCAL = ("silero", "turn_detector")
"""Plugins that run in the agent's own process and ask nobody."""
_INACTIVE = ("noise_cancellation", "ai_coustics", "krisp", "nvidia_noise")
_CLASSES = ("LLM", "STT", "STTv2", "TTS", "ChunkedStream")
_GATEWAY = "agent-gateway.livekit.cloud"
_MODEL = re.compile(r"[a-z][\w-]*/[\w.:-]+")


@dataclass(frozen=True)
class Need:
    """Something an agent needs.

    Attributes:
        where: ``file:line``.
        what: What the line asks for.
        ok: Whether it is here.
        do: What to change or install; what is worth knowing, if it is here.
    """

    where: str
    what: str
    ok: bool
    do: str = ""

    def row(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


def needs(agent: str) -> list[Need]:
    """What an agent's files need, in the order of the lines.

    Raises:
        AgentFileError: there is no such file, or it is not valid Python.
    """
    path, _ = find_agent(agent)
    found: dict[tuple[str, str], Need] = {}
    for file in (f for f in source_files(path) if f.suffix == ".py"):
        for need in _File(file).needs():
            found.setdefault((need.where, need.what), need)
    return list(found.values())


class _File:
    """One file of an agent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_bytes())
        self.plugins = dict(self._plugins())

    def _plugins(self) -> Iterator[tuple[str, str]]:
        """The local name of every plugin that is imported, and the plugin's own."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module == _PLUGINS:
                yield from ((a.asname or a.name, a.name) for a in node.names)

    def needs(self) -> Iterator[Need]:
        nodes = [n for n in ast.walk(self.tree) if isinstance(n, (ast.stmt, ast.expr))]
        for node in sorted(nodes, key=lambda n: (n.lineno, n.col_offset)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                yield from self._import(node)
            elif isinstance(node, ast.Call):
                yield from self._call(node)

    def _need(self, node: Any, what: str, ok: bool, do: str = "") -> Need:
        return Need(f"{self.path.name}:{node.lineno}", what, ok, do)

    def _import(self, node: ast.Import | ast.ImportFrom) -> Iterator[Need]:
        for name in imported(node):
            parts = name.split(".")
            if parts[:2] == ["livekit", "plugins"]:
                if len(parts) == 3:
                    yield self._plugin(node, parts[2])
            elif isinstance(node, ast.Import) or name == node.module:
                if not self._there(parts[0]):
                    do = f"install the package that has it, such as `pip install {parts[0]}`"
                    yield self._need(node, f"module {parts[0]}", False, do)

    def _there(self, top: str) -> bool:
        beside = self.path.parent / top
        if beside.is_dir() or beside.with_suffix(".py").is_file():
            return True
        return importlib.util.find_spec(top) is not None

    def _plugin(self, node: Any, plugin: str) -> Need:
        what = f"plugin {plugin}"
        if plugin in _INACTIVE:
            return self._need(node, what, True, "inactive: callers' audio is left as it is")
        served = _served(plugin)
        if served is None and plugin not in _LOCAL:
            known = ", ".join(sorted({*PROVIDERS, *_LOCAL} - {"collector"}))
            return self._need(
                node, what, False, f"not emulated: use one of {known}{hint(plugin, PROVIDERS)}"
            )
        if importlib.util.find_spec(f"{_PLUGINS}.{plugin}") is None:
            package = f"livekit-plugins-{plugin.replace('_', '-')}"
            extra = PROVIDERS[served].extra if served else ""
            do = f"pip install {f'labkit[{extra}]' if extra else package}"
            return self._need(node, what, False, do)
        return self._need(node, what, True)

    def _call(self, node: ast.Call) -> Iterator[Need]:
        chain = _chain(node.func)
        last = chain[-1] if chain else ""
        if last == "RealtimeModel":
            yield self._need(node, ".".join(chain), False, REALTIME)
        elif last == "AvatarSession":
            yield self._need(node, ".".join(chain), False, AVATAR)
        elif chain and chain[0] in self.plugins:
            yield from self._class(node, chain)
        elif last in ("AgentSession", "Agent") or chain[:1] == ["inference"]:
            yield from self._gateway(node, chain)

    def _class(self, node: ast.Call, chain: list[str]) -> Iterator[Need]:
        """The model of a plugin's language model, if it is given as a text."""
        provider = _served(self.plugins[chain[0]])
        helper = chain[-1].removeprefix("with_") if chain[-1].startswith("with_") else ""
        if helper:
            provider = HELPERS.get(helper, helper)
            if provider not in PROVIDERS:
                do = f"not emulated: use one of {', '.join(sorted(PROVIDERS))}"
                yield self._need(node, ".".join(chain), False, do)
                return
        if "LLM" not in chain or provider is None:
            return
        model = next((k.value for k in node.keywords if k.arg == "model"), None)
        if isinstance(model, ast.Constant) and isinstance(model.value, str):
            service = emulators()[provider]
            known = load_profiles()[provider].names("models")
            ok = service_knows(service, provider, model.value)
            do = "" if ok else f"emulated are {', '.join(known)}{hint(model.value, known)}"
            yield self._need(model, f"model {model.value} of {provider}", ok, do)

    def _gateway(self, node: ast.Call, chain: list[str]) -> Iterator[Need]:
        """Models of LiveKit Inference: its classes, and texts such as ``openai/gpt-4.1``."""
        has = any(kind.host == _GATEWAY for kind in emulators().values())
        do = "" if has else "LiveKit Inference is not emulated here: use the provider's plugin"
        if chain[0] == "inference" and chain[-1] in _CLASSES:
            yield self._need(node, ".".join(chain), has, do)
        for keyword in node.keywords:
            value = keyword.value
            if keyword.arg in ("stt", "llm", "tts") and isinstance(value, ast.Constant):
                if isinstance(value.value, str) and _MODEL.match(value.value):
                    yield self._need(value, f"{keyword.arg} {value.value}", has, do)


def _served(plugin: str) -> str | None:
    """The provider that a plugin talks to, if it is emulated."""
    return plugin if plugin in PROVIDERS else None


def service_knows(service: Any, provider: str, model: str) -> bool:
    """Whether an emulated language model of that name is there."""
    from labkit.world.scene import Scene

    made = service(load_profiles()[provider], Scene)
    return getattr(made, "_parts", [made])[0].known_model(model) is not None


def _chain(node: ast.expr) -> list[str]:
    """The names of ``a.b.c``; empty for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []
