"""An emulated trace collector: OTLP over HTTP, as any OpenTelemetry exporter sends it.

It takes the bytes of an export request, logs the spans in it, and says how long it takes to accept
them. Exporters use blocking clients, so it is not a server on the event loop: see
:mod:`labkit.tunnel.blocking`.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from typing import Any

from labkit.providers.profile import Profile
from labkit.world.events import Role, Spans
from labkit.world.scene import Scene

KEPT = ("gen_ai.span.kind", "fi.span.kind", "gen_ai.request.model", "input.value", "output.value")
"""Attributes that are kept of each span, where it has them."""
_LONGEST = 200


class Collector:
    """``otlp.example.com``.

    Args:
        profile: How long accepting takes.
        scene: Gives the call in progress.
        now: The clock, seconds; read from whichever thread exports.
    """

    name = "collector"
    host = "otlp.example.com"

    def __init__(
        self, profile: Profile, scene: Callable[[], Scene], now: Callable[[], float]
    ) -> None:
        self._profile, self._scene, self._now = profile, scene, now

    def accept(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, float]:
        """Takes one export request.

        Returns:
            The HTTP status, and the seconds from the request's arrival to the answer.
        """
        if path != "/v1/traces":
            return 404, 0.0
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            spans = _spans(body)
        except Exception:  # protobuf raises its own kinds of error
            return 400, 0.0
        event = Spans(spans=tuple(spans))
        self._scene().log.add(event, self._now(), Role.COLLECTOR, self.name)
        return 200, float(self._profile.value("traces", "accept"))


def _spans(body: bytes) -> list[dict[str, Any]]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(body)
    found = []
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                values = {a.key: a.value for a in span.attributes}
                kept = {k: str(_plain(values[k]))[:_LONGEST] for k in KEPT if k in values}
                found.append(
                    {
                        "name": span.name,
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "began_ns": span.start_time_unix_nano,
                        "ended_ns": span.end_time_unix_nano,
                        "attributes": kept,
                    }
                )
    return found


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else ""
