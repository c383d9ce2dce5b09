"""For every test: the clock is installed before livekit is loaded, and nothing leaves loopback."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from labkit.tunnel import clock

os.environ.setdefault("MPLBACKEND", "Agg")
# The same examples in every run, and nothing kept of them; a busy machine fails no test.
hypothesis.settings.register_profile("labkit", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("labkit")
clock.install()  # test modules may import livekit, in any order

_LOG = Path(tempfile.mkdtemp(prefix="labkit-tests-")) / "left-loopback"
_LOG.touch()
_GUARD = Path(__file__).parent / "loopback"

# Children of the tests (workers, commands, kernels) load the same guard as they start.
os.environ["LABKIT_TESTS_LEFT_LOOPBACK"] = str(_LOG)
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(_GUARD), *filter(None, [os.environ.get("PYTHONPATH")])]
)
sys.path.insert(0, str(_GUARD))
import stay_home  # noqa: E402

stay_home.watch()


@pytest.fixture(autouse=True)
def _nothing_left_loopback() -> Iterator[None]:
    """Fails a test during which any process of the tests reached for another machine."""
    before = _LOG.read_text()
    yield
    after = _LOG.read_text()
    assert after == before, f"reached for another machine:\n{after[len(before) :]}"


@pytest.fixture(autouse=True)
def _figures() -> Iterator[None]:
    """A test that draws starts from the project's style, and its figures are closed after it."""
    if "matplotlib" not in sys.modules:
        yield
        return
    import matplotlib.pyplot as plt

    from labkit.report.palette import use_style

    with plt.rc_context():
        use_style()
        yield
    plt.close("all")
