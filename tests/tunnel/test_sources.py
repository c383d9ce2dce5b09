"""What belongs to an agent file."""

from pathlib import Path

import pytest

from labkit.tunnel.agentfile import AgentFileError
from labkit.tunnel.sources import source_files


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    (tmp_path / "agent.py").write_text("import json\nfrom helper import x\nimport pack.part\n")
    (tmp_path / "helper.py").write_text('import other\nx = "agent.colour"\n')
    (tmp_path / "other.py").write_text("import helper\n")
    (tmp_path / "stranger.py").write_text('y = "agent.size"\n')
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "part.py").write_text("")
    return tmp_path / "agent.py"


def test_modules_beside_it_belong_to_it(agent: Path) -> None:
    names = {f.relative_to(agent.parent).as_posix() for f in source_files(agent)}
    assert names == {"agent.py", "helper.py", "other.py", "pack/part.py"}


def test_a_broken_file_is_named_with_its_line(agent: Path) -> None:
    (agent.parent / "other.py").write_text("x =\n")
    with pytest.raises(AgentFileError, match=r"other.py:1"):
        source_files(agent)
