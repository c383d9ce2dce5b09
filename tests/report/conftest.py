"""Figures are closed after each test, and each test starts from the project's style."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest

from labkit.report.palette import use_style


@pytest.fixture(autouse=True)
def _figures() -> Iterator[None]:
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")
