"""Sends HTTP requests and WebSocket frames as raw bytes."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import select
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

PATIENCE_S = 20.0


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Raw:
    """One connection to the server at `url`: `authority` is its Host, `token` what every path begins with."""

    def __init__(self, url: str, *, patience: float = PATIENCE_S) -> None:
        parts = urlsplit(url)
        self.authority, self.token = parts.netloc, parts.path
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def head(self, path: str, *headers: str, method: str = "GET") -> bytes:
        """A request's head, with the token before the path and the right Host."""
        lines = [f"{method} {self.token}{path} HTTP/1.1", f"Host: {self.authority}", *headers, "", ""]
        return "\r\n".join(lines).encode()

    def send(self, data: bytes) -> None:
        """Send all of it, or as much as the server takes before it ends the connection."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def answer(self, method: str = "GET") -> Answer | None:
        """The next answer; None where the connection ended instead."""
        response = http.client.HTTPResponse(self.socket, method=method)
        try:
            response.begin()
            body = response.read()
        except (http.client.HTTPException, ConnectionError):
            return None
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def rest(self, wait: float | None = None) -> bytes:
        """All bytes up to the end of the connection, or until `wait` seconds of silence."""
        parts: list[bytes] = []
        with contextlib.suppress(ConnectionError):
            while True:
                if wait is not None and not select.select([self.socket], [], [], wait)[0]:
                    self.socket.shutdown(socket.SHUT_WR)
                    wait = None
                part = self.socket.recv(1 << 16)
                if not part:
                    break
                parts.append(part)
        return b"".join(parts)

    def open_socket(self, page: str, *headers: str) -> Answer | None:
        """Ask for a WebSocket of a page; the answer, of which 101 means that frames can follow."""
        key = base64.b64encode(bytes(16)).decode()
        upgrade = (
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        )
        self.send(self.head(f"/uploads/{page}", f"Origin: http://{self.authority}", *upgrade, *headers))
        return self.answer()


def frame(opcode: int, payload: bytes = b"", *, first: int = 0x80, length: int | None = None) -> bytes:
    """A masked frame; `first`: the bits beside the opcode; `length`: the payload length it claims."""
    size = len(payload) if length is None else length
    if size < 126:
        head = bytes([first | opcode, 0x80 | size])
    elif size < 1 << 16:
        head = bytes([first | opcode, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first | opcode, 0x80 | 127]) + size.to_bytes(8, "big")
    mask = os.urandom(4) if length is None else bytes(4)
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return head + mask + masked


def exchange(server, request: bytes, *, cut: bool = False) -> bytes:
    """The response to exactly these bytes; `cut`: closes the sending side after them."""
    with socket.create_connection(("127.0.0.1", urlsplit(server.url).port), timeout=30) as connection:
        connection.sendall(request)
        if cut:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def status(server, target: str, *, method="GET", host=None, headers=()) -> int:
    """The status of the response to a target that an HTTP client would normalise or refuse."""
    parts = urlsplit(server.url)
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc if host is None else host}", *headers]
    answer = exchange(server, "\r\n".join([*lines, "Connection: close", "", ""]).encode())
    return int(answer.split(b" ")[1])


def token(server) -> str:
    """The path that every URL of the server begins with."""
    return urlsplit(server.url).path
