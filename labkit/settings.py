"""Every setting of the tunnel: its dotted name, meaning, unit, default and source.

A setting whose default is ``None`` is left to the agent and the SDK; the text says what they do.
Settings marked ``agent`` travel to the agent as JSON in the job's metadata, the LiveKit way; the
others belong to the tunnel (links, the caller, the cost of computing).
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from labkit.errors import UsageError

Value = str | float | bool | None


class SettingError(UsageError):
    """A setting that does not exist or a value it cannot take."""


@dataclass(frozen=True)
class Setting:
    """One dotted setting.

    Attributes:
        name: Dotted name; the ``--set`` key, the sweep key and the table column.
        kind: ``number``, ``flag`` or ``text``.
        default: Used when nothing is said; ``None`` leaves it to the agent and the SDK.
        unit: Unit of a number, empty otherwise.
        help: What it does.
        source: Where the default comes from.
        agent: Whether it is handed to the agent rather than used by the tunnel.
        choices: Allowed texts, empty for any.
        low: Smallest allowed number.
        high: Largest allowed number.
    """

    name: str
    kind: Literal["number", "flag", "text"]
    default: Value
    unit: str
    help: str
    source: str = "labkit"
    agent: bool = False
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def may_be_preset(self) -> bool:
        """Whether an agent or a persona may set it, so that the default too can be a choice."""
        preset = self.agent or self.name.startswith(("caller.", "links.caller."))
        return preset and self.name != "caller.persona"

    def parse(self, given: object) -> Value:
        """Turns a command-line text or a Python value into this setting's value.

        Raises:
            SettingError: names the setting, what was given and what is allowed.
        """
        if _unset(given):
            return self.default
        if self.kind == "flag":
            return self._flag(given)
        if self.kind == "text":
            if self.choices and given not in self.choices:
                raise SettingError(
                    f"{self.name}={given!s}: allowed are {', '.join(self.choices)}"
                    + _hint(str(given), self.choices)
                )
            return str(given)
        return self._number(given)

    def _flag(self, given: object) -> bool:
        texts = {"true": True, "on": True, "1": True, "yes": True}
        texts |= {"false": False, "off": False, "0": False, "no": False}
        if isinstance(given, bool):
            return given
        if str(given).lower() not in texts:
            raise SettingError(f"{self.name}={given!s}: allowed are true and false")
        return texts[str(given).lower()]

    def _number(self, given: object) -> float:
        try:
            number = float(given)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            unit = f" in {self.unit}" if self.unit else ""
            raise SettingError(f"{self.name}={given!s}: a number{unit} is needed") from None
        if not math.isfinite(number):
            raise SettingError(f"{self.name}={given!s}: must be a finite number")
        low, high = self.low, self.high
        if not ((low is None or number >= low) and (high is None or number <= high)):
            limits = [f"at least {low:g}" if low is not None else ""]
            limits += [f"at most {high:g}" if high is not None else ""]
            raise SettingError(
                f"{self.name}={number:g}: must be {' and '.join(x for x in limits if x)}"
                f"{' ' + self.unit if self.unit else ''}"
            )
        return number


SDK = "livekit-agents 1.8 default"
_RTT_SOURCE = "same-region round trip, Deepgram support toolkit, Feb 2026: 5-20 ms; 60-100 ms same "
_RTT_SOURCE += "continent; 30 ms is a region nearby"


def _number(name: str, default: float | None, unit: str, help: str, **more: Any) -> Setting:
    more.setdefault("low", 0.0)
    return Setting(name, "number", default, unit, help, **more)


def _links() -> list[Setting]:
    settings = []
    for host in ("deepgram", "openai", "anthropic", "cartesia", "collector"):
        settings += [
            _number(f"links.{host}.rtt_s", 0.03, "s", f"round trip to {host}", source=_RTT_SOURCE),
            _number(
                f"links.{host}.jitter_s",
                0.0,
                "s",
                f"median extra one-way delay to {host}; its 95th percentile is three times that",
            ),
            _number(
                f"links.{host}.loss",
                0.0,
                "",
                f"share of segments to {host} lost; each costs a retransmission",
                high=0.5,
            ),
            _number(
                f"links.{host}.dns_s",
                0.005,
                "s",
                f"name look-up of {host}, once per call",
                source="Deepgram support toolkit, Feb 2026: 1-50 ms",
            ),
        ]
    settings += [
        _number("links.caller.rtt_s", 0.04, "s", "round trip between caller and agent"),
        _number(
            "links.caller.jitter_s",
            0.0,
            "s",
            "median extra one-way delay of the caller's packets, in order, before the buffer",
        ),
        _number(
            "links.caller.loss",
            0.0,
            "",
            "share of the caller's packets lost; they arrive as silence",
            high=0.5,
        ),
        _number(
            "links.caller.jitter_buffer_s",
            0.04,
            "s",
            "play-out delay of each receiver's jitter buffer; it hides that much jitter",
            source="two 20 ms packets, the usual minimum of WebRTC's NetEQ",
        ),
        _number(
            "links.caller.codec_s",
            0.0265,
            "s",
            "packetisation and look-ahead of the audio codec, each way",
            source="RFC 6716: 20 ms Opus frame and 6.5 ms look-ahead",
        ),
    ]
    return settings


_GATEWAY: list[Setting] = [
    Setting(
        "gateway.enabled",
        "flag",
        False,
        "",
        "all providers are reached through one relay that ends the agent's connections and passes "
        "each message on; links.* are then the ways from there on",
    ),
    _number("gateway.rtt_s", 0.03, "s", "round trip from agent to gateway", source=_RTT_SOURCE),
    _number(
        "gateway.processing_s",
        0.002,
        "s",
        "time the gateway takes for a request, a piece of an answer or a WebSocket message",
        source="LiteLLM documentation, benchmarks: overhead of 2 ms in the median, 8 ms at P95",
    ),
]

_AGENT: list[Setting] = [
    Setting(
        "stt.provider",
        "text",
        "deepgram",
        "",
        "speech recogniser",
        agent=True,
        choices=("deepgram", "deepgram-flux"),
    ),
    Setting(
        "stt.model",
        "text",
        "nova-3",
        "",
        "model of the speech recogniser",
        agent=True,
        source="livekit-plugins-deepgram 1.8 default",
    ),
    _number(
        "stt.eager_eot_threshold",
        None,
        "",
        "Flux: confidence that starts a reply early; off unless set",
        agent=True,
        low=0.3,
        high=0.9,
    ),
    _number(
        "stt.eot_threshold",
        None,
        "",
        "Flux: confidence that ends a turn; the service uses 0.7",
        agent=True,
        low=0.5,
        high=0.9,
    ),
    Setting(
        "llm.provider",
        "text",
        "openai",
        "",
        "language model's provider",
        agent=True,
        choices=("openai", "anthropic"),
    ),
    Setting(
        "llm.model",
        "text",
        None,
        "",
        "language model; gpt-4o-mini, or claude-haiku-4-5 with anthropic",
        agent=True,
    ),
    Setting(
        "tts.model",
        "text",
        "sonic-3",
        "",
        "voice model",
        agent=True,
        source="livekit-plugins-cartesia 1.8 default",
    ),
    Setting(
        "endpointing.mode",
        "text",
        None,
        "",
        "fixed or dynamic; the SDK uses fixed",
        source=SDK,
        agent=True,
        choices=("fixed", "dynamic"),
    ),
    _number(
        "endpointing.min_delay_s",
        None,
        "s",
        "wait after the last speech when the turn seems "
        "over; the SDK uses 0.3 with its audio turn detector, else 0.5",
        source=SDK,
        agent=True,
    ),
    _number(
        "endpointing.max_delay_s",
        None,
        "s",
        "wait after the last speech when the detector "
        "doubts; the SDK uses 2.5 with its audio turn detector, else 3.0",
        source=SDK,
        agent=True,
    ),
    Setting(
        "turn_detection",
        "text",
        None,
        "",
        "who ends a turn: detector (the SDK's default, a local audio model), vad, stt or manual",
        source=SDK,
        agent=True,
        choices=("detector", "vad", "stt", "manual"),
    ),
    _number(
        "turn_detector.threshold",
        None,
        "",
        "probability below which the detector doubts; the SDK uses 0.36 for English",
        source=SDK,
        agent=True,
        high=1.0,
    ),
    _number(
        "vad.min_silence_s",
        None,
        "s",
        "silence after which the VAD ends speech; the SDK uses 0.25",
        source=SDK,
        agent=True,
    ),
    _number(
        "vad.activation_threshold",
        None,
        "",
        "speech probability that starts speech; the SDK uses 0.5",
        source=SDK,
        agent=True,
        high=1.0,
    ),
    Setting(
        "preemptive.enabled",
        "flag",
        None,
        "",
        "start the reply before the turn is committed; the SDK does",
        source=SDK,
        agent=True,
    ),
    Setting(
        "preemptive.tts",
        "flag",
        None,
        "",
        "synthesize it before the commit too; the SDK does not",
        source=SDK,
        agent=True,
    ),
    Setting(
        "interruption.enabled",
        "flag",
        None,
        "",
        "may the caller interrupt; the SDK allows it",
        source=SDK,
        agent=True,
    ),
    _number(
        "interruption.min_duration_s",
        None,
        "s",
        "speech that counts as an interruption; the SDK uses 0.5",
        source=SDK,
        agent=True,
    ),
    _number(
        "aec_warmup_s",
        None,
        "s",
        "time at the agent's first speech during which it hears nothing; the SDK uses 3.0",
        source=SDK,
        agent=True,
    ),
    Setting(
        "agent.greets",
        "flag",
        False,
        "",
        "the agent speaks first; the caller waits for it",
        agent=True,
    ),
    Setting(
        "prewarm.llm",
        "flag",
        True,
        "",
        "connect to the language model when the session is made, as the SDK does",
        source=SDK,
        agent=True,
    ),
    Setting(
        "prewarm.tts",
        "flag",
        True,
        "",
        "connect to the voice when the session starts, as the SDK does",
        source=SDK,
        agent=True,
    ),
]

_TUNNEL: list[Setting] = [
    Setting(
        "caller.persona",
        "text",
        "fluent",
        "",
        "who calls; mixed draws one of the others for each call",
        choices=(
            "fluent",
            "hesitant",
            "terse",
            "barging_in",
            "back_channelling",
            "noisy_line",
            "rephrasing",
            "near_miss",
            "mixed",
        ),
    ),
    Setting(
        "caller.dialogue",
        "text",
        "mixed",
        "",
        "what is talked about: a dialogue's name, or mixed to draw one per call",
    ),
    _number(
        "caller.noise_floor_dbfs",
        -120.0,
        "dBFS",
        "room tone under everything the caller says; at -96 and below it is digital silence",
        low=-120.0,
        high=-20.0,
    ),
    _number(
        "caller.noise_snr_db",
        None,
        "dB",
        "signal-to-noise ratio of the caller's speech in caller.noise; no noise unless set",
        low=-20.0,
        high=60.0,
    ),
    Setting(
        "caller.noise",
        "text",
        "office",
        "",
        "what the noise is: places recorded in livekit-agents' resources, or pink noise",
        choices=("office", "city", "crowd", "forest", "keyboard", "pink"),
    ),
    _number(
        "caller.barge_in_after_s",
        None,
        "s",
        "from the first sound of a reply to the caller's next turn, begun over it with a word such "
        'as "Wait."; the caller lets the agent finish unless set',
    ),
    _number(
        "caller.backchannel_prob",
        0.0,
        "",
        "share of replies during which the caller says mhm or the like, 1 to 2.5 s in",
        high=1.0,
    ),
    _number(
        "caller.release_after_s",
        None,
        "s",
        "push to talk: from the caller's last sound to letting go of the button, which also "
        "closes the microphone; negative cuts words off; no button unless set",
        low=-10.0,
    ),
    _number(
        "caller.gap_s",
        0.6,
        "s",
        "median pause of the caller between the agent's last sound and the next turn",
        source="a listener must outwait pauses inside the reply; people "
        "answer each other after some 0.2 s (Stivers et al. 2009)",
    ),
    _number("caller.patience_s", 8.0, "s", "how long the caller waits for a reply before going on"),
    _number("caller.start_after_s", 0.8, "s", "from joining to the caller's first word"),
    _number(
        "caller.echo_db",
        None,
        "dB",
        "level of the agent's voice in the caller's microphone, relative to that voice, until the "
        "device cancels it; no echo unless set",
        low=-80.0,
        high=0.0,
    ),
    _number(
        "caller.echo_learned_s",
        1.0,
        "s",
        "sound of the agent after which the caller's device cancels its echo",
        source="assumption: an adaptive canceller converges within about a second of speech",
    ),
    _number(
        "join.handshake_s",
        None,
        "s",
        "from the caller's opening the microphone, with which the call begins, to the start of the "
        "agent's job; unless set the caller waits for the agent before the call begins",
    ),
    Setting(
        "join.preconnect",
        "flag",
        False,
        "",
        "the caller's app records until the agent has joined, and sends the recording then; takes "
        "effect with join.handshake_s",
    ),
    _number(
        "compute.vad_window_s",
        0.000027,
        "s",
        "charged for one 32 ms window of the SDK's VAD",
        source="26.6 us median, one AMD EPYC core, livekit-local-inference 0.2.7",
    ),
    _number(
        "compute.eot_s",
        0.083,
        "s",
        "charged for one end-of-turn inference",
        source="83 ms median, one AMD EPYC core, livekit-local-inference 0.2.7",
    ),
    _number(
        "compute.embed_s",
        0.0041,
        "s",
        "charged for one inference of an ONNX model that an agent runs in an executor, such as the "
        "embedding of a sentence",
        source="4.1 ms median, one AMD EPYC core, all-MiniLM-L6-v2 int8, onnxruntime 1.31",
    ),
    Setting(
        "profile", "text", "", "", "a TOML file laid over the provider profiles in data/providers"
    ),
]

SETTINGS: dict[str, Setting] = {s.name: s for s in [*_links(), *_GATEWAY, *_AGENT, *_TUNNEL]}
"""Every setting by dotted name."""


def _unset(given: object) -> bool:
    return given is None or (isinstance(given, str) and given.lower() == "default")


def _plain(given: object) -> Value:
    """A value whose kind nothing declares: a number or a truth value if it reads as one."""
    if given is None or isinstance(given, (bool, int, float)):
        return given
    text = str(given)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _hint(given: str, known: Any) -> str:
    match = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]}?" if match else ""


FAMILIES = {
    "hosts.NAME": "an emulated provider answers for another host name, e.g. hosts.my.host=openai; "
    "links.my.host.rtt_s, jitter_s, loss and dns_s are its link, the provider's own by default",
    "providers.FIGURE": "one figure of the provider profiles, e.g. "
    "providers.openai.models.gpt-4o.first_token=0.1 (constant, s) or ….first_token.median_s=0.1",
    "agent.NAME": "a parameter of your own agent file, which reads it as "
    '"agent.NAME" from the JSON in ctx.job.metadata',
}
"""Open-ended families of settings; their names are checked where they are used."""


class Settings(Mapping[str, Value]):
    """A full set of values: the defaults, with some of them changed.

    Besides the settings of :data:`SETTINGS` it holds those of the open-ended :data:`FAMILIES`.
    """

    def __init__(self, changes: Mapping[str, object] | None = None) -> None:
        self.changes: dict[str, Value] = {}
        self.extra_hosts: dict[str, str] = {}
        self.extra_links: dict[str, float] = {}
        self.figures: dict[str, Value] = {}
        self.parameters: dict[str, Value] = {}
        for name, given in (changes or {}).items():
            if name.startswith("hosts."):
                self.extra_hosts[name.removeprefix("hosts.").lower()] = str(given)
                continue
            if name.startswith("providers."):
                self.figures[name.removeprefix("providers.")] = _plain(given)
                continue
            if name.startswith("agent.") and name not in SETTINGS:
                self.parameters[name] = _plain(given)
                continue
            host, _, part = name.removeprefix("links.").rpartition(".")
            if name.startswith("links.") and f"hosts.{host}" in (changes or {}):
                like = SETTINGS.get(f"links.deepgram.{part}")
                if like is None:
                    raise SettingError(f"{name}: a link has rtt_s, jitter_s, loss and dns_s")
                self.extra_links[name.lower()] = replace(like, name=name)._number(given)
                continue
            if name not in SETTINGS:
                raise SettingError(
                    f"unknown setting {name!r}{_hint(name, SETTINGS)}; `labkit config` lists all"
                )
            setting = SETTINGS[name]
            value = setting.parse(given)
            if value != setting.default or (setting.may_be_preset and not _unset(given)):
                self.changes[name] = value

    def __getitem__(self, name: str) -> Value:
        if name in self.changes:
            return self.changes[name]
        return SETTINGS[name].default

    def __iter__(self) -> Any:
        return iter(SETTINGS)

    def __len__(self) -> int:
        return len(SETTINGS)

    def value(self, name: str) -> Value:
        """The value of any setting, those of the open-ended families included; None if unset."""
        if name in SETTINGS:
            return self[name]
        return self.as_dict().get(name)

    def number(self, name: str) -> float:
        """The value of a number that has a default."""
        value = self[name]
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise SettingError(f"{name} has no number: {value!r}")
        return float(value)

    def link(self, provider: str, host: str) -> dict[str, float]:
        """The figures of the link to a host: its own where they are set, else the provider's."""
        figures = {}
        for part in ("rtt_s", "jitter_s", "loss", "dns_s"):
            own = self.extra_links.get(f"links.{host}.{part}")
            figures[part] = self.number(f"links.{provider}.{part}") if own is None else own
        return figures

    def text(self, name: str) -> str:
        """The value of a text that has a default."""
        return str(self[name])

    def metadata(self) -> str:
        """What the agent is told, as JSON: only what was chosen; defaults stay the SDK's."""
        told = {k: v for k, v in self.changes.items() if SETTINGS[k].agent} | self.parameters
        return json.dumps(dict(sorted(told.items())))

    def as_dict(self) -> dict[str, Value]:
        """What was chosen, sorted; the identity of a set of settings."""
        open_ended: dict[str, Value] = {f"hosts.{k}": v for k, v in self.extra_hosts.items()}
        open_ended |= self.extra_links
        open_ended |= {f"providers.{k}": v for k, v in self.figures.items()}
        return dict(sorted((self.changes | open_ended | self.parameters).items()))


def parse_assignments(pairs: list[str]) -> dict[str, str]:
    """Reads ``name=value`` texts.

    Raises:
        SettingError: a text without an equals sign.
    """
    changes = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise SettingError(f"--set {pair!r}: write it as name=value")
        changes[name.strip()] = value.strip()
    return changes
