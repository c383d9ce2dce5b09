"""What a worker process is given: its environment when it starts, and one call at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

from labkit.settings import Value

KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "CARTESIA_API_KEY")

ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # set iteration order reaches timing
    "PYTHONHASHSEED": "0",
    # the SDK's loop monitor would watch a clock that jumps
    "LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS": "0",
    **{key: f"tunnel-{key.split('_')[0].lower()}-key" for key in KEYS},
}
"""What a worker's environment must hold before its interpreter starts."""


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
    seed: int = 7
    call: int = 0
    n_turns: int = 5
    virtual: bool = True
    tracks: bool = False
