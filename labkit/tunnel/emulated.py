"""The emulated providers of one call."""

from __future__ import annotations

from collections.abc import Mapping

from labkit.providers.profile import Profile
from labkit.providers.registry import emulators, key_variables
from labkit.providers.server import Emulator
from labkit.tunnel import instant
from labkit.tunnel.spec import KEYS
from labkit.world.scene import Scene


class Emulators(dict[str, Emulator]):
    """The providers of one call by name, each made when it is first asked for.

    Attributes:
        scene: The call in progress, for all of them.
    """

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        super().__init__()
        self.scene = Scene()
        self._profiles = profiles

    def __missing__(self, name: str) -> Emulator:
        keys = frozenset(KEYS[variable] for variable in key_variables(name))
        made = emulators()[name](self._profiles[name], lambda: self.scene, api_keys=keys)
        made.around = instant.of_client
        self[name] = made
        return made
