"""The specification of one call; light, so that asking for a call loads no worker code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labkit.providers.keys import PLUGIN_KEYS
from labkit.providers.registry import PROVIDERS, key_variables
from labkit.settings import Settings, Value

N_TURNS = 5
"""Default number of caller turns in a call."""
SEED = 7
"""Default seed of a study."""

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
KEYS = {
    # a secret that signs is as long as libraries want one to be
    v: f"tunnel-{name}-key".ljust(32 if v.endswith("_SECRET") else 0, "-")
    for name in PROVIDERS
    for v in key_variables(name)
}
"""The variables of each provider's API key, and the key that the tunnel supplies."""

ROOM_HOST = "livekit.example.com"
"""The LiveKit server. Not a name of LiveKit's cloud: on that the SDK would behave otherwise."""
SUPPLIED = {
    **dict.fromkeys(PLUGIN_KEYS, "tunnel-plugin-key"),
    **KEYS,
    "LIVEKIT_URL": f"wss://{ROOM_HOST}",
}
"""What an agent finds in its environment whatever the user's holds: no true key gets in."""

ENVIRONMENT = {
    **THREADS,
    # set iteration order reaches timing
    "PYTHONHASHSEED": "0",
    # the SDK's loop monitor would watch a clock that jumps
    "LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS": "0",
    **SUPPLIED,
}
"""What a worker's environment must hold before its interpreter starts."""

HOSTED = {"LIVEKIT_REMOTE_EOT_URL": "https://agent-gateway.livekit.cloud/v1"}
"""By what the SDK knows that it runs in LiveKit's cloud, and asks the hosted detectors of turns."""
_DEVELOPMENT = "LIVEKIT_DEV_MODE"  # does the same


def deployed(environment: Mapping[str, str], where: str) -> dict[str, str]:
    """The variables of a call whose agent is ``hosted`` or ``self-hosted``."""
    kept = {k: v for k, v in environment.items() if k not in (*HOSTED, _DEVELOPMENT)}
    return kept | HOSTED if where == "hosted" else kept


_CALL_S = _TURN_S = 60.0
"""How long a call may last without its turns, and each of them."""


@dataclass(frozen=True)
class CallSpec:
    """One call to be run.

    Attributes:
        agent: A built-in agent's name, ``path.py`` or ``path.py:object``.
        settings: What differs from the default settings.
        seed: The study's base seed.
        call: Index of the call.
        n_turns: How many turns the caller takes.
        virtual: Virtual clock, or the wall clock.
        tracks: Whether to keep the caller's two audio tracks.
    """

    agent: str
    settings: dict[str, Value] = field(default_factory=dict)
    seed: int = SEED
    call: int = 0
    n_turns: int = N_TURNS
    virtual: bool = True
    tracks: bool = False


def longest_s(spec: CallSpec, settings: Settings) -> float:
    """What a call may take on its own clock before it is ended, seconds."""
    return _CALL_S + _TURN_S * spec.n_turns + settings.number("caller.start_after_s")
