"""The private names of the LiveKit SDK that :mod:`labkit.tunnel.sdk` uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Private:
    """A name that the SDK may drop without notice.

    Attributes:
        owner: Module, or module and class.
        name: The name in it; of a class, also one that its constructor sets.
        use: What it is for here.
        without: What breaks if it goes.
    """

    owner: str
    name: str
    use: str
    without: str


NAMES = (
    Private(
        "livekit.rtc", "_ffi_client",
        "where requests to the native library pass", "rooms would want a true server",
    ),
    Private(
        "livekit.rtc", "_proto",
        "the messages that pass there", "rooms would want a true server",
    ),
    Private(
        "livekit.rtc._ffi_client.FfiClient", "_instance",
        "the tunnel's own stands there", "rooms would want a true server",
    ),
    Private(
        "livekit.rtc._ffi_client.FfiClient", "_pid",
        "asked of it where a handle is dropped", "handles are dropped with an error",
    ),
    Private(
        "livekit.rtc._ffi_client.FfiClient", "_ffi_lib",
        "asked of it where a handle is dropped", "handles are dropped with an error",
    ),
    Private(
        "livekit.agents.AgentSession", "_room_io",
        "a session whose audio is the console's has its room, too", "session.room_io is not there",
    ),
    Private(
        "livekit.agents.AgentSession", "_session_start_context",
        "the span that the room's beginning belongs to", "spans of the beginning lie elsewhere",
    ),
    Private(
        "livekit.agents.voice.room_io.RoomOptions", "_ensure_options",
        "the room options, old form or new", "room options have no effect",
    ),
    Private(
        "livekit.agents.inference_runner", "_InferenceRunner",
        "models that plugins run in the inference process", "plugins' own models are not run",
    ),
    Private(
        "livekit.agents.AgentServer", "_request_fnc",
        "what accepts or rejects a job", "agents have no name of their own in the room",
    ),
    Private(
        "livekit.agents.AgentServer", "_agent_name",
        "the name it would be dispatched by", "sessions cannot be chosen by that name",
    ),
    Private(
        "livekit.agents.Agent", "_activity",
        "the rules by which turns end, as resolved for the agent that listens",
        "the slack of the endpointing delay is unknown",
    ),
    Private(
        "livekit.agents.voice.agent_activity.AgentActivity", "_turn_detection",
        "who ends turns, after the SDK's defaults",
        "the slack of the endpointing delay is unknown",
    ),
    Private(
        "livekit.agents.job", "_JobContextVar",
        "get_job_context() in agents and in the SDK", "agents find no job",
    ),
    Private(
        "livekit.agents.cli.AgentsConsole", "_instance",
        "audio in and out where the console's is", "sessions hear and say nothing",
    ),
    Private(
        "livekit.agents.cli.AgentsConsole", "_tcp_transport",
        "asked of the console by AgentSession.start", "sessions do not start",
    ),
    Private(
        "livekit.agents.cli.AgentsConsole", "_tcp_audio_input",
        "asked of the console with _tcp_transport", "sessions do not start",
    ),
    Private(
        "livekit.agents.cli.AgentsConsole", "_tcp_audio_output",
        "asked of the console with _tcp_transport", "sessions do not start",
    ),
    Private(
        "livekit.agents.AgentServer", "_entrypoint_fnc",
        "what an agent file registered with rtc_session", "agent files start no agent",
    ),
    Private(
        "livekit.agents.AgentServer", "_session_end_fnc",
        "its on_session_end", "evaluations at the end of a call are not run",
    ),
    Private(
        "livekit.agents.JobContext", "_pending_tasks",
        "tasks the job started, ended with it", "they leak into the next call",
    ),
    Private(
        "livekit.agents.JobContext", "_on_cleanup",
        "the job's own end", "its folders and log filters stay",
    ),
    Private(
        "livekit.agents.JobContext", "_primary_agent_session",
        "the session to close when the caller has left", "calls end without its close event",
    ),
    Private(
        "livekit.agents.JobContext", "_shutdown_callbacks",
        "what agents ask to be called at the end", "agents' clean-up is not run",
    ),
    Private(
        "livekit.agents.utils.http_context", "_new_session_ctx",
        "the job's HTTP sessions", "plugins make no connections",
    ),
    Private(
        "livekit.agents.utils.http_context", "_close_http_ctx",
        "their end", "connections leak into the next call",
    ),
    Private(
        "livekit.agents.voice.room_io._pre_connect_audio", "PreConnectAudioHandler",
        "takes what a caller said before the agent joined", "join.preconnect cannot be set",
    ),
    Private(
        "livekit.agents.voice.tool_executor", "_ToolExecutor",
        "runs a tool in a task of its own", "instant.tools has no effect",
    ),
    Private(
        "livekit.agents.utils.codecs.decoder.AudioStreamDecoder", "_decode_loop",
        "given a thread, as it waits on the loop", "compressed speech hangs calls",
    ),
    Private(
        "livekit.agents.utils.codecs.decoder.AudioStreamDecoder", "_decode_loop",
        "given a thread, as it waits on the loop", "compressed speech hangs calls",
    ),
    Private(
        "livekit.agents.utils.codecs.decoder.AudioStreamDecoder", "_input_buf",
        "where it waits for bytes", "compressed speech hangs calls",
    ),
    Private(
        "livekit.agents.utils.codecs.StreamBuffer", "_data_available",
        "what it waits on there", "compressed speech hangs calls",
    ),
    Private(
        "livekit.agents.utils.codecs.StreamBuffer", "_lock",
        "the lock of that", "compressed speech hangs calls",
    ),
)  # fmt: skip
"""Everything that is used here without a promise."""
