"""What every emulated provider shares: keys, limits, random draws, refusals and the log.

An emulator is an ordinary :class:`aiohttp.web.Application`. It knows the time only from its event
loop, so the same code serves on a virtual and on a wall clock, and it draws every delay from a
stream named by the occasion, so that all arms of an experiment see the same random draws.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, ClassVar

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from labkit.providers.profile import Profile
from labkit.providers.recent import Recent
from labkit.providers.slots import Slots
from labkit.randomness import uniform
from labkit.world.events import Event, Refused, Role
from labkit.world.scene import Scene

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OCCASIONS = 20_000
_LONGEST_SHOWN = 200
_CONTROLS = re.compile(r"[^\x20-\x7e]+")


class RequestError(Exception):
    """A request that a service answers with an error.

    Attributes:
        status: HTTP status.
        message: What the service says.
        code: The service's name for it.
        fields: What else the service's form of an error holds.
        headers: Headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **fields: str | None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.fields = status, message, code, fields
        self.headers = dict(headers or {})


class Emulator:
    """Base of the emulated providers.

    Attributes:
        name: Short name, also the profile's and the log's: ``"deepgram"``.
        host: The true service's host name: ``"api.deepgram.com"``.
        role: What it does for an agent.
        base_path: What its clients put between the host and the paths of their own.
        client: How its official client is pointed here; ``{at}`` stands for host and port.
        stops_with_client: Whether a request is dropped when its client goes away.
        around: What every request is answered in.
        behind_s: One-way delay from its host to where the work is done, seconds.
        draws_as: The provider whose random streams it draws from, if not its own: a call through a
            gateway and one past it then see the same draws.
    """

    name: ClassVar[str]
    host: ClassVar[str]
    role: ClassVar[Role]
    base_path: ClassVar[str] = ""
    client: ClassVar[str] = ""
    stops_with_client: ClassVar[bool] = False
    around: Callable[[web.Request], contextlib.AbstractContextManager[None]]
    behind_s: float = 0.0
    draws_as: ClassVar[str] = ""

    def __init__(
        self,
        profile: Profile,
        scene: Callable[[], Scene],
        *,
        api_keys: frozenset[str] | None = None,
    ) -> None:
        """Makes an emulator.

        Args:
            profile: Delays, limits and prices.
            scene: Gives the call in progress now; one emulator serves many calls, one by one.
            api_keys: Keys that are accepted; ``None`` accepts any key that is not empty.
        """
        self.profile = profile
        self.scene = scene
        self.api_keys = api_keys
        self.around = lambda request: contextlib.nullcontext()
        self.slots = Slots()
        self._ordinals: Recent[tuple[int | str, ...], int] = Recent(_OCCASIONS)

    def app(self) -> web.Application:
        """A fresh web application with this provider's routes."""
        app = web.Application(
            handler_args={"handler_cancellation": self.stops_with_client},
        )
        nowhere = web.route("*", r"/{path:[\s\S]*}", self._nowhere)
        app.add_routes([*self.answered(), *self._answering([nowhere])])
        return app

    def answered(self) -> list[web.RouteDef]:
        """The routes, with refusals in the service's own form."""
        return self._answering(self.routes())

    def _answering(self, routes: list[web.RouteDef]) -> list[web.RouteDef]:
        # not a middleware: aiohttp keeps those, and whatever they hold, of a thousand applications
        return [web.RouteDef(r.method, r.path, self._refusing(r.handler), r.kwargs) for r in routes]

    def _refusing(self, handler: Any) -> Handler:
        """A handler that answers a refusal in the service's own form."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                with self.around(request):
                    response: web.StreamResponse = await handler(request)
            except web.HTTPException as error:  # such as a handshake that is none
                refused = RequestError(error.status, error.text or error.reason)
            except RequestError as error:
                refused = error
            except _CLIENTS_FAULTS:
                return web.Response(status=400)  # the client is gone, or sent half a request
            else:
                return response
            self.log(Refused(status=refused.status, code=refused.code, message=refused.message))
            return self.refusal(request, refused)

        return answer

    async def _nowhere(self, request: web.Request) -> web.StreamResponse:
        """Answers for a path, or a method, that the service does not have."""
        raise RequestError(404, f"Invalid URL ({request.method} {shown(request.path)})")

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        """An error in the service's form; handlers raise it."""
        raise NotImplementedError

    def routes(self) -> list[web.RouteDef]:
        """The routes of this provider."""
        raise NotImplementedError

    def understand(self, find: Any) -> None:
        """For outside clients, whose track nobody knows: words are heard where ``find`` finds them.

        It is a :class:`~labkit.providers.clip_finder.ClipFinder`; only an STT listens.
        """

    def reset(self) -> None:
        """Forgets all state between two calls."""
        self.slots.reset()
        self._ordinals.clear()

    def authorized(self, key: str) -> bool:
        """Whether ``key`` is one of the keys accepted here."""
        if not key.isascii():  # bytes that are no text, too: no true key has them
            return False
        return bool(key) if self.api_keys is None else key in self.api_keys

    def nth(self, purpose: str, *key: int | str) -> int:
        """How often this was asked before in the present turn: 0, 1, 2, …

        It tells apart occasions that have no better name, such as the second try of a request.
        """
        scene = self.scene()
        name = (purpose, scene.call, scene.turn, *(_brief(k) for k in key))
        return self._ordinals.put(name, (self._ordinals.get(name) or 0) + 1) - 1

    def identifier(self, purpose: str) -> str:
        """A UUID for a request or a connection: the same in every run of the same call."""
        scene = self.scene()
        name = (scene.seed, self.name, purpose, scene.call, scene.turn, self.nth("id", purpose))
        digest = hashlib.blake2b(repr(name).encode(), digest_size=16).digest()
        return str(uuid.UUID(bytes=digest, version=4))

    def draw(
        self,
        *parts: str,
        purpose: str,
        key: tuple[int | str, ...] = (),
        turn: int | None = None,
    ) -> float:
        """Draws one of the profile's delays, seconds.

        Args:
            parts: The delay's place in the profile, such as ``("models", "nova-3", "final")``.
            purpose: What is drawn. Leave the model out, so that arms with different models see the
                same draws.
            key: What else names the occasion within the turn; see :meth:`nth`.
            turn: The turn it belongs to; the caller's present one if not given.
        """
        scene, delay = self.scene(), self.profile.delay(*parts)
        turn = scene.turn if turn is None else turn
        name = self.draws_as or self.name
        u = uniform(scene.seed, f"{name}.{purpose}", scene.call, turn, *key)
        slow = delay.slow is not None and delay.slow.holds(scene.seed, name, scene.call, turn)
        return delay.drawn(u, slow=slow)

    async def upgrade(
        self, request: web.Request, id_header: str
    ) -> tuple[web.WebSocketResponse, str]:
        """Accepts a WebSocket after the server's own work.

        Args:
            request: The client's handshake.
            id_header: In which header of the answer the client finds its request id.

        Returns:
            The socket, which is not ``prepared`` if the client left meanwhile, and the id.
        """
        request_id, key = self.identifier("request"), self._connection(request)
        await asyncio.sleep(self.draw("upgrade", "server", purpose="upgrade", key=key))
        ws = websocket()
        ws.headers[id_header] = request_id
        with contextlib.suppress(ConnectionResetError):
            await ws.prepare(request)
        return ws, request_id

    def _connection(self, request: web.Request) -> tuple[int | str, ...]:
        """What names a new connection: what it is opened for, but not which model it asks for."""
        asked = sorted((k, v) for k, v in request.query.items() if "model" not in k)
        name = hashlib.blake2b(repr((request.path, asked)).encode(), digest_size=8).hexdigest()
        return name, self.nth("upgrade", name)

    def logger(self, role: Role | None = None) -> Callable[[Event], None]:
        """Writes events into the log of the present call, even when the next one has begun.

        Args:
            role: What the provider does when it is not what it does otherwise.
        """
        log, loop = self.scene().log, asyncio.get_running_loop()
        return lambda event: log.add(event, loop.time(), role or self.role, self.name)

    def log(self, event: Event) -> None:
        """Writes an event into the log of the call in progress, at the loop's time."""
        self.logger()(event)


class _Together(Emulator):
    """Emulators of several roles behind one host; the first answers for what none of them has."""

    parts: ClassVar[tuple[type[Emulator], ...]]

    def __init__(self, profile: Profile, *args: Any, **kwargs: Any) -> None:
        first, *rest = self.parts
        self._parts = [first(profile, *args, **kwargs)]
        self._parts += [part(profile.of_role(part.role), *args, **kwargs) for part in rest]
        super().__init__(profile, *args, **kwargs)
        self.behind_s = self._parts[0].behind_s

    @property
    def around(self) -> Any:
        return self._parts[0].around

    @around.setter
    def around(self, value: Any) -> None:
        for part in self._parts:
            part.around = value

    def routes(self) -> list[web.RouteDef]:
        return [route for part in self._parts for route in part.routes()]

    def answered(self) -> list[web.RouteDef]:
        return [route for part in self._parts for route in part.answered()]

    def refusal(self, request: web.Request, error: RequestError) -> web.Response:
        return self._parts[0].refusal(request, error)

    def understand(self, find: Any) -> None:
        for part in self._parts:
            part.understand(find)

    def reset(self) -> None:
        for part in self._parts:
            part.reset()
        super().reset()


def together(kinds: Iterable[type[Emulator]]) -> type[Emulator]:
    """One emulator for all roles of a provider; of one role it is that role's own."""
    first, *rest = kinds
    if not rest:
        return first
    own = {
        name: getattr(first, name)
        for name in ("name", "host", "role", "base_path", "client", "stops_with_client")
    }
    return type(f"{first.__name__}Together", (_Together,), {**own, "parts": (first, *rest)})


def shown(given: object, longest: int = _LONGEST_SHOWN) -> str:
    """What a message repeats of a request, cut to ``longest`` characters."""
    text = str(given)
    return text if len(text) <= longest else text[:longest] + "..."


def header_text(text: str) -> str:
    """A text as a header may carry it."""
    return _CONTROLS.sub(" ", text)


def _brief(part: int | str) -> int | str:
    """A part of a name; a long text is replaced by its digest, so as not to be kept."""
    if isinstance(part, int) or len(part) <= _LONGEST_SHOWN:
        return part
    return hashlib.blake2b(part.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def websocket(max_msg_size: int = 4 << 20) -> web.WebSocketResponse:
    """A server-side WebSocket without compression and without pings.

    Pings would kill a client's idle pooled socket, which nobody reads, and the true services send
    none.
    """
    return web.WebSocketResponse(compress=False, heartbeat=None, max_msg_size=max_msg_size)


class _OwnFaults(logging.Filter):
    """Keeps what clients do wrong out of the log: aiohttp answers 400 and writes a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, _CLIENTS_FAULTS)


_CLIENTS_FAULTS = (
    HttpProcessingError,
    ClientPayloadError,
    web.RequestPayloadError,
    ConnectionError,
)
_logger = logging.getLogger("labkit.providers")
_logger.addFilter(_OwnFaults())


def runner_of(emulator: Emulator, shutdown_timeout: float = 60.0) -> web.AppRunner:
    """A server for an emulator on plain HTTP, not yet bound to a port."""
    return web.AppRunner(
        emulator.app(),
        access_log=None,
        keepalive_timeout=3630,
        shutdown_timeout=shutdown_timeout,
        logger=_logger,
    )


@contextlib.asynccontextmanager
async def listening(
    emulator: Emulator, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Serves an emulator on plain HTTP; gives the port."""
    runner = runner_of(emulator, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
