"""The server's routes: the page, TF.js, artifacts and the job protocol."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from pytest_tfjs.browsers.messages import ProtocolError, is_number
from pytest_tfjs.browsers.serving.page_channel import PageChannel, StaleError
from pytest_tfjs.browsers.serving.uploads import receive_uploads
from pytest_tfjs.formats import strict_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send
    from starlette.websockets import WebSocket

# Browsers run modules and .wasm files only with the right type, and the machine's own table may be wrong:
# Windows' registry may have text/plain for .js.
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
PAGE_SUFFIXES = {".html", ".js", ".mjs"}
POLL_S = 20.0
EVENTS_LIMIT = 1 << 20
RESULT_LIMIT = 16 << 20
REFERENCES_LIMIT = 8 << 20
BEAT_LIMIT = 1 << 10


class _File(FileResponse):
    chunk_size = 1 << 20  # each chunk is read in a thread: 4 calls for a shard of 4 MB, not 64

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Pages request no parts of files, and Starlette before 0.49.1 took quadratic time to merge many.
        headers = [(name, value) for name, value in scope["headers"] if name not in (b"range", b"if-range")]
        await super().__call__({**scope, "headers": headers}, receive, send)


class _Number(IntegerConvertor):
    regex = "[0-9]{1,9}"  # int() raises for more than 4300 digits, which would give a response 500


register_url_convertor("number", _Number())


@dataclass(frozen=True)
class Published:
    """Files of a folder, by the path in the URL; each value is a relative path below the folder."""

    folder: Path
    files: Mapping[str, str]

    def file(self, path: str) -> Path | None:
        """The file served under a path; checked on each call, as a link may have changed since."""
        name = self.files.get(path)
        return None if name is None else file_inside(self.folder, name)

    def states(self) -> tuple[tuple[int, int] | None, ...]:
        """The modification time and size of each file, to detect changes; None for a missing file."""
        return tuple(map(_state, map(self.file, self.files)))


def _state(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        stat = path.stat()
    except OSError:  # it was removed meanwhile
        return None
    return stat.st_mtime_ns, stat.st_size


@dataclass
class Site:
    """Everything that is served: the roots, the files allowed below them, and the pages in use.

    `url`: the beginning of all URLs; its last part is the run's token.
    """

    page_root: Path
    dist_root: Path
    dist_files: frozenset[str]
    artifacts: dict[str, Published] = field(default_factory=dict)
    pages: dict[str, PageChannel] = field(default_factory=dict)
    refused: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    url: str = ""

    def without_token(self, text: str) -> str:
        """`text` with `…` in place of `url` and of the token."""
        base, _, token = self.url.rpartition("/")
        # The page shortens long texts: the remaining part of a token could suffice to guess the rest.
        return re.sub(rf"{re.escape(base)}/[\w-]+|{re.escape(token)}", "…", text) if token else text


def make_app(site: Site) -> Starlette:
    """The application for `site`. The server's gate checks tokens and hosts before it."""
    routes = _Routes(site)
    job = "/api/{page}/jobs/{job:number}"
    app = Starlette(
        routes=[
            Route("/page/{path:path}", routes.page),
            Route("/dist/{path:path}", routes.dist),
            Route("/artifacts/{key}/{path:path}", routes.artifacts),
            Route("/api/{page}/setup", routes.setup),
            Route("/api/{page}/job", routes.job),
            Route(f"{job}/feeds/{{feed:number}}", routes.feed),
            Route(f"{job}/references/{{feed:number}}", routes.references, methods=["POST"]),
            Route(f"{job}/result", routes.result, methods=["POST"]),
            Route("/api/{page}/events", routes.events, methods=["POST"]),
            Route("/api/{page}/beat", routes.beat, methods=["POST"]),
            WebSocketRoute("/uploads/{page}", routes.uploads),
        ],
        exception_handlers={
            StaleError: _answer(410),
            ProtocolError: _answer(400),
            ClientDisconnect: _answer(400),
        },
    )
    app.router.redirect_slashes = False
    for route in app.routes:
        if isinstance(route, Route) and route.methods is not None:
            route.methods.discard("HEAD")  # Starlette adds it, but a HEAD request for a job would consume it
    return app


def file_inside(root: Path, relative: str) -> Path | None:
    """The file at a plain relative path below `root`; None if it is missing or a link leads outside."""
    if str(PurePosixPath(relative)) != relative or ".." in PurePosixPath(relative).parts:
        return None
    try:
        path = (root / relative).resolve(strict=True)
        return path if path.is_relative_to(root.resolve()) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


class _Routes:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def uploads(self, socket: WebSocket) -> None:
        channel = self._site.pages.get(socket.path_params["page"])
        if channel is None:
            await socket.close()
        else:
            await receive_uploads(socket, channel)

    async def page(self, request: Request) -> Response:
        relative = request.path_params["path"]
        allowed = Path(relative).suffix in PAGE_SUFFIXES
        return _serve(file_inside(self._site.page_root, relative) if allowed else None, cached=True)

    async def dist(self, request: Request) -> Response:
        relative = request.path_params["path"]
        allowed = relative in self._site.dist_files
        return _serve(file_inside(self._site.dist_root, relative) if allowed else None, cached=True)

    async def artifacts(self, request: Request) -> Response:
        published = self._site.artifacts.get(request.path_params["key"])
        path = None if published is None else published.file(request.path_params["path"])
        return _serve(path, cached=False)

    async def setup(self, request: Request) -> Response:
        return JSONResponse(self._channel(request).setup)

    async def job(self, request: Request) -> Response:
        order = await self._channel(request).next_order(POLL_S)
        self._channel(request).alive()
        return Response(status_code=204) if order is None else JSONResponse(order)

    async def feed(self, request: Request) -> Response:
        channel = self._channel(request)
        try:
            body = channel.feed(request.path_params["job"], request.path_params["feed"])
        except IndexError as error:
            raise HTTPException(404, str(error)) from error
        return Response(body, media_type="application/octet-stream")

    async def references(self, request: Request) -> Response:
        channel = self._channel(request)
        message = await self._message(request, REFERENCES_LIMIT)
        names = message.get("names") if isinstance(message, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ProtocolError("expected a JSON object with 'names', a list of strings")
        job, feed = request.path_params["job"], request.path_params["feed"]
        try:
            # References are read from files, for which other requests must not wait.
            body = await run_in_threadpool(channel.references, job, feed, names)
        except IndexError as error:
            raise HTTPException(404, str(error)) from error
        except OSError as error:
            raise HTTPException(500, f"the reference cannot be read: {error}") from error
        return Response(body, media_type="application/octet-stream")

    async def result(self, request: Request) -> Response:
        channel = self._channel(request)
        channel.finish(request.path_params["job"], await self._message(request, RESULT_LIMIT))
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        channel = self._channel(request)
        message = await self._message(request, EVENTS_LIMIT)
        first = message.get("first") if isinstance(message, dict) else None
        events = message.get("events") if isinstance(message, dict) else None
        if type(first) is not int or not isinstance(events, list):
            raise ProtocolError("expected a JSON object with 'first', a number, and 'events', a list")
        channel.add_events(first, events)
        return Response(status_code=204)

    async def beat(self, request: Request) -> Response:
        channel = self._channel(request)
        message = await self._message(request, BEAT_LIMIT)
        busy: Any = message.get("busyMs") if isinstance(message, dict) else None
        if not is_number(busy):
            raise ProtocolError("expected a JSON object with 'busyMs', a number")
        channel.beat(float(busy) / 1000)
        return Response(status_code=204)

    async def _message(self, request: Request, limit: int) -> Any:
        """The page's message, parsed from JSON without the token: reports show its stacks and errors."""
        body = await _body(request, limit)
        try:
            return strict_json.loads(self._site.without_token(body.decode()))
        except ValueError as error:
            raise ProtocolError(f"the message is not JSON: {error}") from error

    def _channel(self, request: Request) -> PageChannel:
        channel = self._site.pages.get(request.path_params["page"])
        if channel is None:
            raise StaleError("there is no such page")
        channel.alive()
        return channel


def _answer(status: int) -> Any:
    async def handler(request: Request, error: Exception) -> Response:  # noqa: ARG001 (Starlette's signature)
        return PlainTextResponse(str(error), status)

    return handler


def _serve(path: Path | None, *, cached: bool) -> Response:
    """`path` as a response; `cached`: the browser may cache it, as it does not change during the run."""
    if path is None:
        raise HTTPException(404)
    media_type = MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
    caching = "private, max-age=86400, immutable" if cached else "no-store"
    return _File(path, media_type=media_type, headers={"Cache-Control": caching})


async def _body(request: Request, limit: int) -> bytearray:
    """The request's body, of at most `limit` bytes; memory grows only as it arrives."""
    declared = request.headers.get("content-length")
    if declared is None:
        raise HTTPException(411, "the message has no Content-Length")
    size = int(declared)
    if size > limit:
        raise HTTPException(413, f"the request has {size} bytes; the limit is {limit}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
    return body
