"""What an agent file needs is read from its text, and said with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.needs import needs

HEAD = "from livekit.agents import AgentSession, inference\n"


def found(folder: Path, text: str) -> dict[str, tuple[str, bool, str]]:
    path = folder / "agent.py"
    path.write_text(HEAD + text)
    return {n.what: (n.where, n.ok, n.do) for n in needs(str(path))}


def test_what_is_here_is_said_to_be(tmp_path: Path) -> None:
    got = found(
        tmp_path,
        "import json\nfrom livekit.plugins import openai as oa\n"
        "oa.LLM(model='gpt-4.1-2025-04-14')\noa.LLM.with_together(model='any/thing')\n",
    )
    assert {what: ok for what, (_, ok, _) in got.items()} == {
        "plugin openai": True,
        "model gpt-4.1-2025-04-14 of openai": True,
        "model any/thing of togetherai": True,
    }


@pytest.mark.parametrize(
    ("text", "what", "do"),
    [
        ("from livekit.plugins import tavus", "plugin tavus", "not emulated: use one of"),
        ("import no_such_thing.here", "module no_such_thing", "pip install no_such_thing"),
        (
            "from livekit.plugins import openai\nopenai.realtime.RealtimeModel()",
            "openai.realtime.RealtimeModel",
            "give the session an stt, an llm and a tts",
        ),
        (
            "from livekit.plugins import openai\nopenai.LLM(model='gpt-4.1-minni')",
            "model gpt-4.1-minni of openai",
            "did you mean gpt-4.1-mini?",
        ),
        (
            "from livekit.plugins import openai\nopenai.LLM.with_octo()",
            "openai.LLM.with_octo",
            "not emulated",
        ),
    ],
)
def test_what_is_not_says_what_to_do(tmp_path: Path, text: str, what: str, do: str) -> None:
    where, ok, told = found(tmp_path, text)[what]
    assert not ok and do in told
    assert where == f"agent.py:{2 + text.count(chr(10))}"


def test_built_in_agents_have_all_they_need() -> None:
    assert all(need.ok for need in needs("vanilla"))
