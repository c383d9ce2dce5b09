"""Which errors are the user's to mend: they name what was given and what is allowed."""

from __future__ import annotations


def USAGE_ERRORS() -> tuple[type[Exception], ...]:  # noqa: N802
    """Every usage error of the package; a function, so that nothing is imported before use."""
    from labkit.callers.dialogue import DialogueError
    from labkit.callers.speech import SpeechError
    from labkit.config import SettingError
    from labkit.providers.profile import ProfileError
    from labkit.report.notebooks import NotebookError
    from labkit.study.run import UsageError
    from labkit.tunnel.agentfile import AgentFileError

    return (
        AgentFileError,
        DialogueError,
        NotebookError,
        ProfileError,
        SettingError,
        SpeechError,
        UsageError,
    )
