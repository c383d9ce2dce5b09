"""Loads the built-in agents' helper modules, to try them on texts instead of calls."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from labkit.paths import agents_dir


def load(name: str) -> ModuleType:
    """A module beside the agents (``_turn_rules``) that needs no LiveKit, imported as they do."""
    folder = str(agents_dir())
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


@functools.cache
def _embedder() -> object:
    return load("_embedder").Embedder()


@functools.lru_cache(maxsize=1 << 13)
def _vector(text: str) -> np.ndarray:
    found: np.ndarray = _embedder().embed([text])[0]  # type: ignore[attr-defined]
    return found


def vectors(texts: Sequence[str]) -> np.ndarray:
    """Sentence embeddings of texts, one by one as an agent computes them: (n, 384)."""
    return np.stack([_vector(text) for text in texts])
