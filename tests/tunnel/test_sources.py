"""What belongs to an agent file, and which parameters it reads."""

from pathlib import Path

import pytest

from labkit.settings import SettingError, Settings
from labkit.tunnel.agentfile import AgentFileError
from labkit.tunnel.sources import check_parameters, source_files


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


def test_parameters_are_those_its_files_name(agent: Path) -> None:
    check_parameters(str(agent), Settings({"agent.colour": "red"}))
    with pytest.raises(SettingError, match=r"'agent.color'; did you mean agent.colour"):
        check_parameters(str(agent), Settings({"agent.color": "red"}))
    with pytest.raises(SettingError, match=r"it reads agent.colour"):
        check_parameters(str(agent), Settings({"agent.size": 3}))


def test_settings_count_where_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(
        'MODEL = "tts.model"\n\ndef session(p):\n    return p.get(MODEL)\n\n'
        'def other(p):\n    return p.get("vad.min_silence_s")\n'
    )
    reads = "from helper import session\nsession(ctx.job.metadata)\n"
    (tmp_path / "agent.py").write_text(reads)
    check_parameters(str(tmp_path / "agent.py"), Settings({"tts.model": "sonic-3"}))
    silence = Settings({"vad.min_silence_s": 0.3})
    with pytest.raises(SettingError, match=r"reads no setting 'vad.min_silence_s'.*tts.model"):
        check_parameters(str(tmp_path / "agent.py"), silence)
    check_parameters(str(tmp_path / "agent.py"), Settings({"agent.greets": True}))
    # of a file that reads none they are set on its session, which says itself what it cannot take
    (tmp_path / "agent.py").write_text(reads.replace("job.metadata", "room.metadata"))
    check_parameters(str(tmp_path / "agent.py"), silence)


def test_a_broken_file_is_named_with_its_line(agent: Path) -> None:
    (agent.parent / "other.py").write_text("x =\n")
    with pytest.raises(AgentFileError, match=r"other.py:1"):
        source_files(agent)
