"""labkit: a wind tunnel for LiveKit voice agents.

Real agents, emulated providers, simulated callers, virtual time. The names in ``__init__.pyi`` are
what a user of any agent needs; what belongs to one study is in :mod:`labkit.studies`. They are
loaded on first use, so that importing the package is fast and pulls in neither livekit nor
matplotlib.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
