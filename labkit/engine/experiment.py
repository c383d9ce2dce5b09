"""What an experiment runs: arms, and the grid of settings they are run over."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labkit.errors import UsageError, one_of
from labkit.settings import Settings, Value, parse_assignments
from labkit.tunnel.agentfile import find_agent
from labkit.tunnel.declaration import check_parameters
from labkit.tunnel.given import FILES, digests
from labkit.tunnel.spec import N_TURNS, SEED, CallSpec

N_CALLS = 20
"""Calls at each point of each arm, unless something else is asked for."""
N_CALLS_OF_MANY = 12
"""The same where an agent is run with every lever moved, which makes some twenty arms."""
N_CALLS_UNANSWERED = 100
"""The same where callers only are heard and no agent is run."""


@dataclass(frozen=True)
class Arm:
    """One thing that is compared: an agent and the dotted settings of this arm alone.

    The agent is a built-in one's name, ``path.py`` or ``path.py:object``.
    """

    agent: str = "vanilla"
    settings: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Arm:
        """Reads ``AGENT@NAME=VALUE,…``, as ``labkit compare`` takes it."""
        agent, _, changes = text.partition("@")
        return cls(agent, parse_assignments([c for c in changes.split(",") if c]))


@dataclass(frozen=True)
class Point:
    """One arm at one place of the grid.

    Attributes:
        arm: Its name.
        swept: The swept settings and their values here; ``turns`` may be among them.
        spec: What each of its calls runs; only the call's index is to be filled in.
    """

    arm: str
    swept: Mapping[str, Value]
    spec: CallSpec


@dataclass(frozen=True)
class Experiment:
    """Arms over a grid. All see the same callers and the same random draws.

    Attributes:
        arms: By name: an :class:`Arm`, or text as ``vanilla@preemptive.enabled=false``.
        grid: Dotted settings and the values each takes; every combination is run for every arm.
            ``turns``, the caller turns in a call, may be swept too.
        points: Further places of the grid, given one by one.
        settings: Set for all arms.
        calls: Calls at each point of each arm.
        first: Index of the first call; a call of another index hears another caller.
        turns: Caller turns in each call.
        seed: Everything random follows from it.
        clock: ``virtual``, or ``wall`` to run in real time.
    """

    arms: Mapping[str, str | Arm]
    grid: Mapping[str, Sequence[object]] = field(default_factory=dict)
    points: Sequence[Mapping[str, object]] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    calls: int = N_CALLS
    turns: int = N_TURNS
    seed: int = SEED
    clock: str = "virtual"
    first: int = 0

    @property
    def axes(self) -> list[str]:
        """The names of all swept settings, in order."""
        return list(dict.fromkeys([*self.grid, *(name for p in self.points for name in p)]))

    def runs(self) -> list[Point]:
        """Every point of every arm, checked.

        Raises:
            UsageError, SettingError, AgentFileError, ProfileError: nothing was run.
        """
        if not self.arms:
            raise UsageError("an experiment needs at least one arm")
        if self.calls < 1:
            raise UsageError(f"calls={self.calls}: must be at least 1")
        if self.first < 0:
            raise UsageError(f"first={self.first}: must be at least 0")
        there = places(self.grid, self.points)
        return [self._point(name, place) for name in self.arms for place in there]

    def _point(self, name: str, place: Mapping[str, object]) -> Point:
        own = self.arms[name]
        arm = Arm.parse(own) if isinstance(own, str) else own
        swept = {k: v for k, v in place.items() if k != "turns"}
        chosen = Settings({**self.settings, **arm.settings, **swept})
        given = place.get("turns", self.turns)
        turns = int(given) if isinstance(given, str) and given.isdigit() else given
        if not isinstance(turns, int):
            raise UsageError(f"turns={given}: expected a whole number")
        spec = call_spec(arm.agent, chosen, seed=self.seed, turns=turns, clock=self.clock)
        values = {k: turns if k == "turns" else chosen.value(k) for k in self.axes}
        return Point(name, values, spec)


def call_spec(
    agent: str, settings: Settings, *, seed: int, turns: int, clock: str = "virtual"
) -> CallSpec:
    """What each call of an arm runs, checked.

    Raises:
        UsageError, SettingError, AgentFileError, ProfileError: something in it cannot be used.
    """
    from labkit.providers.profile import load_profiles
    from labkit.providers.registry import PROVIDERS
    from labkit.world.dialogue import load_dialogues
    from labkit.world.own import OwnSpeech, is_own, read_own
    from labkit.world.speech import SpeechCorpus

    if turns < 1:
        raise UsageError(f"turns={turns}: must be at least 1")
    if clock not in ("virtual", "wall"):
        raise UsageError(f"clock={clock}: must be virtual or wall")
    still = [name for name in settings.changes if name.startswith("instant.")]
    if clock == "wall" and still:
        raise UsageError(f"{still[0]}: real time does not stand still; use the virtual clock")
    check_parameters(find_agent(agent)[0], settings)
    load_profiles(settings.text("profile") or None, settings.figures)
    dialogue, known = settings.text("caller.dialogue"), load_dialogues()
    if is_own(dialogue):
        own = read_own(dialogue)
        OwnSpeech(own, SpeechCorpus.load()).prepare()
        lines = len(own.dialogue.turns)
        turns = lines if turns == N_TURNS else min(turns, lines)
        dialogue = str(Path(dialogue).expanduser().resolve())
        settings = Settings(settings.as_dict() | {"caller.dialogue": dialogue})
    elif dialogue != "mixed" and dialogue not in known:
        allowed = one_of(dialogue, ["mixed", *known])
        raise UsageError(f"caller.dialogue={dialogue}: {allowed}, or a .toml or .txt file")
    for host, provider in settings.extra_hosts.items():
        if provider not in PROVIDERS:
            raise UsageError(f"hosts.{host}={provider}: {one_of(provider, PROVIDERS)}")
    digests(settings)
    SpeechCorpus.load().check()
    path, colon, wanted = agent.partition(":")
    if path.endswith(".py"):
        agent = f"{Path(path).expanduser().resolve()}{colon}{wanted}"
    virtual = clock == "virtual"
    chosen = settings.as_dict()
    # a worker may stand in another folder
    chosen |= {k: str(Path(str(chosen[k])).expanduser().resolve()) for k in FILES if k in chosen}
    return CallSpec(agent, chosen, seed=seed, n_turns=turns, virtual=virtual)


def places(
    grid: Mapping[str, Sequence[object]], points: Sequence[Mapping[str, object]]
) -> list[dict[str, object]]:
    """Every combination of a grid, then the single points; one empty place if there are none.

    Raises:
        UsageError: the values of a name are not a list, or an empty one.
    """
    for name, values in grid.items():
        if isinstance(values, str) or not len(values):
            raise UsageError(f"grid {name}={values!r}: expected a list of values")
    single = [dict(p) for p in points]
    if single and not grid:
        return single
    return [dict(zip(grid, c, strict=True)) for c in itertools.product(*grid.values())] + single


def load_points(path: str | Path) -> list[dict[str, object]]:
    """Reads a list of points from a TOML file: one ``[[point]]`` table each, dotted names as keys.

    Raises:
        UsageError: the file cannot be read or holds no points.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as e:
        raise UsageError(f"{path}: {e}") from None
    points = table.get("point")
    if not isinstance(points, list) or not points:
        raise UsageError(f"{path}: write each point as a [[point]] table of dotted settings")
    return [dict(_dotted(point)) for point in points]


def _dotted(table: Mapping[str, object], at: str = "") -> list[tuple[str, object]]:
    """``{links: {openai: {rtt_s: 0.1}}}``, as TOML reads bare dotted keys, under dotted names."""
    rows: list[tuple[str, object]] = []
    for key, value in table.items():
        name = f"{at}.{key}" if at else key
        rows += _dotted(value, name) if isinstance(value, dict) else [(name, value)]
    return rows
