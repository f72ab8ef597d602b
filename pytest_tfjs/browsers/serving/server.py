"""The local server of the page, TF.js and artifacts; every request needs the run's token."""

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
    """Serves in a thread of its own, from `start` to `stop`; by default at 127.0.0.1 and a free port.

    `with Server(dist) as server:` starts and stops it. `url` ends in the token, without a slash.
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
        """How browsers reach the server; raises BrowserError if it is not running."""
        if self._access is None:
            raise BrowserError("the server is not running: call start() first")
        return self._access

    @property
    def url(self) -> str:
        """The beginning of all URLs; raises BrowserError if the server is not running."""
        return f"{self.access.base}/{self._token}"

    def start(self) -> None:
        """Listen and answer requests; raises BrowserError if that fails."""
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
        """Stop answering, and free the port and the thread. Does nothing if the server is not running."""
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
        """The channel of a new page, which is at `page_url` and starts from `setup`, which is JSON."""
        channel = PageChannel(setup)
        self._site.pages[channel.page] = channel
        self._site.refused.clear()
        return channel

    def close_page(self, channel: PageChannel) -> None:
        """Refuse all messages of a page from now on."""
        channel.close()
        self._site.pages.pop(channel.page, None)

    def page_url(self, channel: PageChannel) -> str:
        """The URL of a page, for the browser to open."""
        return f"{self.url}/page/index.html?page={channel.page}"

    def refused(self) -> list[str]:
        """The requests answered with an error since the last page was opened, the latest 20."""
        return list(self._site.refused)

    def without_token(self, text: str) -> str:
        """`text` with `…` in place of the server's URL and token, so that it can be published."""
        return self._site.without_token(text)

    def publish(self, model_json: Path) -> str:
        """Serve a model.json and the shards it names, and nothing else of its folder; gives its URL.

        Raises ArtifactsError if a shard is missing or lies outside the folder.
        """
        path = model_json.resolve()
        try:
            name, states = self._published.get(path, ("", ()))
            if not name or self._site.artifacts[name].states() != states:
                # A new name: the page has cached the former files under the former name.
                name = str(len(self._site.artifacts))
                files = Published(path.parent, {"model.json": path.name, **_shards(path)})
                self._site.artifacts[name] = files
                self._published[path] = name, files.states()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactsError(f"{model_json} cannot be read as a converted model: {error!r}") from error
        return f"{self.url}/artifacts/{name}/model.json"

    def trouble(self) -> str | None:
        """Why the running server can no longer be reached, in words; None if it can, or is not running."""
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
            # uvicorn adds these to its own responses to malformed requests too.
            headers=headers,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        config.load()
        connections = self._connections = Connections(config.http_protocol_class, headers)
        new_protocol: Any = connections.new  # uvicorn only calls the protocol class, so a function works too
        config.http_protocol_class = new_protocol
        server = self._uvicorn = uvicorn.Server(config)
        listening.listen(128)

        def serve() -> None:
            asyncio.run(server.serve(sockets=[listening]))

        self._thread = threading.Thread(target=serve, name="pytest-tfjs-server", daemon=True)
        self._thread.start()


class _Gate:
    """Admits only requests with the token, for the server's own host, and not from another site's page."""

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
            # Browsers let any site's page open a WebSocket, so an accepted origin is required.
            refused = status is not None or not _values(scope["headers"], b"origin")
            await (_refuse_socket if refused else self._app)(inner, receive, send)
        else:
            await self._answer(inner, receive, send, status)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, status: int | None) -> None:
        from starlette.responses import PlainTextResponse

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:  # noqa: PLR2004
                # If a proxy adds a path before the server's, the token is in the remaining path.
                path = self._site.without_token(scope["path"])
                request = printable(f"{scope['method']} {path}"[:REFUSED_LENGTH])
                why = ""
                if message["status"] == 421:  # noqa: PLR2004
                    hosts = b", ".join(_values(scope["headers"], b"host")).decode("latin-1")
                    why = printable(f" (Host: {hosts})"[:REFUSED_LENGTH])
                self._site.refused.append(f"{request}: {message['status']}{why}")
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
    # asyncio sets TCP_NODELAY only if the protocol is named; without it responses are delayed by 40 ms.
    made = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        if bind.port and os.name == "posix":  # the previous run may have just freed the port
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
        # On Windows, the address for all interfaces cannot be connected to.
        host = "::1" if listening.family == socket.AF_INET6 else LOOPBACK
    return host, port


def security_headers(access: Access) -> list[tuple[str, str]]:
    """The headers of every response of the server."""
    # 'wasm-unsafe-eval' lets WebAssembly compile; the threads of the wasm backend are workers made of blobs,
    # which load their script from another blob. The page's icon is an empty data URL, so that the browser
    # does not request /favicon.ico.
    policy = [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval' blob:",
        "worker-src 'self' blob:",
        # In some browsers, 'self' does not cover WebSockets.
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
    """The shards that a model.json names: their plain paths below its folder, as both keys and values."""
    manifest = strict_json.loads(model_json.read_bytes()).get("weightsManifest", [])
    shards = {}
    for name in (name for group in manifest for name in group["paths"]):
        plain = str(PurePosixPath(name))  # as a browser requests it: without "./"
        if file_inside(model_json.parent, plain) is None:
            raise ArtifactsError(
                f"{model_json} names the shard {name!r}, which is not a file in {model_json.parent}"
            )
        shards[plain] = plain
    return shards
