"""An agent file as a notebook shows it: the code that was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.paths import agents_dir
from labkit.tunnel.agentfile import find_agent

if TYPE_CHECKING:
    from IPython.display import Code


def source(agent: str) -> Code:
    """The text of an agent file, highlighted.

    Args:
        agent: A built-in agent's name, a module beside them (``_answer_cache``), or ``path.py``.

    Raises:
        AgentFileError: there is no such agent.
    """
    from IPython.display import Code

    beside = agents_dir() / f"{agent}.py"
    path = beside if agent.startswith("_") and beside.is_file() else find_agent(agent)[0]
    text = path.read_text(encoding="utf-8")
    return Code(text, language="python")  # type: ignore[no-untyped-call]
