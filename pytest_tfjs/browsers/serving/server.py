"""The local server of the page, TF.js and artifacts; it requires the run's token."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import secrets
import socket
import threading
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.serving.access import Access, Address, access_of
from pytest_tfjs.browsers.serving.page_channel import PageChannel
from pytest_tfjs.browsers.serving.routes import Published, Site, file_inside, make_app
from pytest_tfjs.browsers.serving.uploads import MESSAGE_LIMIT
from pytest_tfjs.browsers.targets import BACKENDS
from pytest_tfjs.errors import ArtifactsError, BrowserError
from pytest_tfjs.formats import strict_json
from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.settings.addresses import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    import uvicorn
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from typing_extensions import Self

    from pytest_tfjs.browsers.serving.connection_limits import Connections
    from pytest_tfjs.browsers.tfjs_dist import Dist
    from pytest_tfjs.settings.addresses import Bind

PAGE_ROOT = Path(__file__).resolve().parents[2] / "page"
STOP_S = 5.0
PROBE_S = 5.0
REFUSED_LENGTH = 300


class Server:
    """Serves in a thread of its own, from `start` to `stop`: at 127.0.0.1 and a free port unless told else.

    `with Server(dist) as server:` does both. `url` ends in the token, without a slash.
    """

    def __init__(self, dist: Dist, *, address: Address | None = None, page_root: Path = PAGE_ROOT) -> None:
        self._address = Address() if address is None else address
        dist_files = frozenset(name for backend in BACKENDS for name in dist.files(backend))
        self._site = Site(page_root.resolve(), dist.root.resolve(), dist_files)
        self._token = secrets.token_urlsafe(24)
        self._published: dict[Path, tuple[str, tuple[tuple[int, int] | None, ...]]] = {}
        self._socket: socket.socket | None = None
        self._at: tuple[str, int] | None = None
        self._access: Access | None = None
        self._uvicorn: uvicorn.Server | None = None
        self._connections: Connections | None = None
        self._thread: threading.Thread | None = None

    @property
    def access(self) -> Access:
        """How the server is reached; raises BrowserError where it was not started."""
        if self._access is None:
            raise BrowserError("the server is not running: call start() first")
        return self._access

    @property
    def url(self) -> str:
        """What the addresses of all that is served begin with; raises BrowserError as `access` does."""
        return f"{self.access.base}/{self._token}"

    def start(self) -> None:
        """Listen, and answer from now on; raises BrowserError where that fails."""
        try:
            self._socket = _bound(self._address.bind)
            self._at = _reached_at(self._socket)
            self._access = access_of(self._address, self._socket)
            self._site.url = self.url
            self._serve(self._socket, self._access)
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError):
                raise BrowserError(
                    f"the server cannot listen on {self._address.bind}: {error.strerror or error}"
                ) from error
            raise

    def stop(self) -> None:
        """Answer no more, and let go of the port and the thread. Does nothing where it was not started."""
        for channel in list(self._site.pages.values()):
            self.close_page(channel)
        if self._uvicorn is not None and self._thread is not None:
            self._uvicorn.should_exit = True
            self._thread.join(STOP_S)
        if self._socket is not None:
            self._socket.close()
        self._socket = self._access = self._uvicorn = self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def open_page(self, setup: Mapping[str, Any]) -> PageChannel:
        """A new page's mailbox; the page is at `page_url` and starts from `setup`, which is JSON."""
        channel = PageChannel(setup)
        self._site.pages[channel.page] = channel
        self._site.refused.clear()
        return channel

    def close_page(self, channel: PageChannel) -> None:
        """Refuse all messages of a page from now on."""
        channel.close()
        self._site.pages.pop(channel.page, None)

    def page_url(self, channel: PageChannel) -> str:
        """What the browser opens."""
        return f"{self.url}/page/index.html?page={channel.page}"

    def refused(self) -> list[str]:
        """The requests answered with an error since the last page was opened, the latest 20."""
        return list(self._site.refused)

    def without_token(self, text: str) -> str:
        """What a driver or another wrote, fit to be published: `…` for the address with its token."""
        return self._site.without_token(text)

    def publish(self, model_json: Path) -> str:
        """Serve a model.json and the shards it names, and nothing else of its folder; gives its URL.

        Raises ArtifactsError where a shard is missing or lies outside the folder.
        """
        path = model_json.resolve()
        try:
            name, states = self._published.get(path, ("", ()))
            if not name or self._site.artifacts[name].states() != states:
                # A name of its own: the page keeps what it was given under the one before.
                name = str(len(self._site.artifacts))
                files = Published(path.parent, {"model.json": path.name, **_shards(path)})
                self._site.artifacts[name] = files
                self._published[path] = name, files.states()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactsError(f"{model_json} cannot be read as a converted model: {error!r}") from error
        return f"{self.url}/artifacts/{name}/model.json"

    def trouble(self) -> str | None:
        """Why nobody reaches it any more, in words; None where one does, or it was not started."""
        if self._thread is None or self._at is None:
            return None
        if not self._thread.is_alive():
            return "its thread has ended"
        try:
            with socket.create_connection(self._at, timeout=PROBE_S):
                return None
        except OSError as error:
            return f"nothing listens at {self._at[0]}:{self._at[1]}: {error.strerror or error}"

    def _serve(self, listening: socket.socket, access: Access) -> None:
        import uvicorn

        from pytest_tfjs.browsers.serving.connection_limits import Connections, report_responses

        gate = _Gate(make_app(self._site), self._token, access, self._site)
        headers = security_headers(access)
        config = uvicorn.Config(
            report_responses(gate),
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=MESSAGE_LIMIT,
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level="error",
            # uvicorn adds them to its own answers to malformed requests as well.
            headers=headers,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        config.load()
        connections = self._connections = Connections(config.http_protocol_class, headers)
        new_protocol: Any = connections.new  # in place of the class, which uvicorn only calls
        config.http_protocol_class = new_protocol
        server = self._uvicorn = uvicorn.Server(config)
        listening.listen(128)

        def serve() -> None:
            asyncio.run(server.serve(sockets=[listening]))

        self._thread = threading.Thread(target=serve, name="pytest-tfjs-server", daemon=True)
        self._thread.start()


class _Gate:
    """Lets through only requests with the token, to our address, and not sent by another site's page."""

    def __init__(self, app: ASGIApp, token: str, access: Access, site: Site) -> None:
        self._app = app
        self._token = token.encode()
        self._access = access
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        token, _, rest = self._access.path(scope["path"]).removeprefix("/").partition("/")
        inner = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}
        socket = scope["type"] == "websocket"
        safe = not socket and scope["method"] in {"GET", "HEAD"}
        status = self._refusal(token.encode(errors="surrogateescape"), scope, safe=safe)
        if socket:
            # No browser asks whether another site's page may open one: the origin must be there, and ours.
            refused = status is not None or not _values(scope["headers"], b"origin")
            await (_refuse_socket if refused else self._app)(inner, receive, send)
        else:
            await self._answer(inner, receive, send, status)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, status: int | None) -> None:
        from starlette.responses import PlainTextResponse

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:  # noqa: PLR2004
                # Where a proxy puts a path of its own before ours, the token is in the rest.
                path = self._site.without_token(scope["path"])
                asked = printable(f"{scope['method']} {path}"[:REFUSED_LENGTH])
                why = ""
                if message["status"] == 421:  # noqa: PLR2004
                    hosts = b", ".join(_values(scope["headers"], b"host")).decode("latin-1")
                    why = printable(f" (Host: {hosts})"[:REFUSED_LENGTH])
                self._site.refused.append(f"{asked}: {message['status']}{why}")
            await send(message)

        app: ASGIApp = self._app if status is None else PlainTextResponse("refused", status)
        await app(scope, receive, watched)

    def _refusal(self, token: bytes, scope: Scope, *, safe: bool) -> int | None:
        headers, arrived = scope["headers"], scope["server"]
        hosts = _values(headers, b"host")
        if len(hosts) != 1 or not self._access.is_host(hosts[0], arrived):
            return 421
        if not hmac.compare_digest(token, self._token):
            return 404
        origins = () if safe else _values(headers, b"origin")
        if not all(self._access.is_origin(origin, arrived) for origin in origins):
            return 403
        return None


async def _refuse_socket(_: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for a WebSocket with 403."""
    await receive()
    await send({"type": "websocket.close"})


def _bound(bind: Bind) -> socket.socket:
    """A socket at the address that the user named. Raises OSError."""
    family, kind, _, _, address = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)[0]
    # With the protocol named, asyncio sets TCP_NODELAY; without it answers wait 40 ms to be acknowledged.
    made = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        if bind.port and os.name == "posix":  # one that the run before has just left
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and bind.is_wildcard:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def _reached_at(listening: socket.socket) -> tuple[str, int]:
    """The address at which this process can connect to a socket that is bound."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        # On Windows nothing can be sent to the address that stands for all.
        host = "::1" if listening.family == socket.AF_INET6 else LOOPBACK
    return host, port


def security_headers(access: Access) -> list[tuple[str, str]]:
    """The headers of every answer of the server."""
    # 'wasm-unsafe-eval' lets WebAssembly compile; the threads of the wasm backend are workers made of blobs,
    # which load their script from another. The page's icon is an empty data address: no /favicon.ico is read.
    policy = [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval' blob:",
        "worker-src 'self' blob:",
        # Not every browser takes 'self' for WebSockets as well.
        " ".join(["connect-src 'self'", *access.sockets]),
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return [
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Embedder-Policy", "require-corp"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Content-Security-Policy", "; ".join(policy)),
    ]


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _shards(model_json: Path) -> dict[str, str]:
    """The shards that a model.json names, as plain paths below its folder, by the same."""
    manifest = strict_json.loads(model_json.read_bytes()).get("weightsManifest", [])
    found = {}
    for name in (name for group in manifest for name in group["paths"]):
        plain = str(PurePosixPath(name))  # as a browser asks for it: without "./"
        if file_inside(model_json.parent, plain) is None:
            raise ArtifactsError(
                f"{model_json} names the shard {name!r}, which is not a file in {model_json.parent}"
            )
        found[plain] = plain
    return found
