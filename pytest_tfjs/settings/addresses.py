"""Parses the addresses of a Selenium Grid, and those of the local server."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings.values import file_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOOPBACK = "127.0.0.1"
PORT_FIELD = "{port}"
_DEFAULT_PORTS = {"http": 80, "https": 443}
HIGHEST_PORT = 65535
# A host as in the `Host` header: a name, an IPv4 address, or an IPv6 address in brackets.
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?\.?|\[[0-9a-f:.]+\]", re.IGNORECASE)
_USER_INFO = re.compile(r"^([^/]*//)?.*@")


@dataclass(frozen=True)
class RemoteUrl:
    """A Selenium Grid or a cloud service; `str` and `repr` leave out its user name and password."""

    url: str
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """The host, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port, also if the address does not name it."""
        return port_of(urlsplit(self.url))

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Bind:
    """Where the server listens; port 0 means any free port."""

    host: str = LOOPBACK
    port: int = 0

    @property
    def is_wildcard(self) -> bool:
        """Whether the server listens on all addresses of the machine."""
        return _ip(self.host) in {ipaddress.ip_address("0.0.0.0"), ipaddress.ip_address("::")}  # noqa: S104

    def __str__(self) -> str:
        return bracketed(self.host) + (f":{self.port}" if self.port else "")


@dataclass(frozen=True)
class PublicUrl:
    """Where browsers reach the server; `{port}` in it is replaced by the server's port."""

    text: str

    def at(self, port: int) -> PublicUrl:
        """The address of a server that listens at `port`."""
        return PublicUrl(self.text.replace(PORT_FIELD, str(port)))

    @property
    def names_port(self) -> bool:
        """Whether the address depends on the server's port."""
        return PORT_FIELD in self.text

    @property
    def parts(self) -> SplitResult:
        """Scheme, host, port and path; only for an address without `{port}`."""
        return urlsplit(self.text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class JsonFile:
    """A file that holds a JSON object; `str` and `repr` leave out its content, which may hold access keys."""

    path: Path
    content: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return str(self.path)


def parse_remote(value: Any) -> RemoteUrl:
    """Parses `http://grid:4444` or `https://user:key@cloud.example/wd/hub`. Raises SettingsError."""
    parts = _split(value, "http://localhost:4444")
    if bool(parts.username) != bool(parts.password):
        raise SettingsError(
            "expected both a user name and a key, as in https://USER:KEY@hub.example, or neither"
        )
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    return RemoteUrl(url, unquote(parts.username or "") or None, unquote(parts.password or "") or None)


def parse_public_url(value: Any) -> PublicUrl:
    """Parses `https://ci.example/tfjs` or `http://192.0.2.7:{port}`. Raises SettingsError."""
    text = str(value).rstrip("/")
    parts = _split(text.replace(PORT_FIELD, "1"), "https://ci.example/tfjs or http://192.0.2.7:{port}")
    if "@" in parts.netloc:
        raise SettingsError("expected no user name or password: the page cannot send them with its requests")
    return PublicUrl(text)


def parse_bind(value: Any) -> Bind:
    """Parses `HOST`, `HOST:PORT` or `[::1]:8000`, where HOST is this machine. Raises SettingsError."""
    text = str(value).strip()
    host, port = _host_and_port(text)
    try:
        number = int(port or "0")
    except ValueError:
        number = -1
    if not host or not 0 <= number <= HIGHEST_PORT:
        raise SettingsError(
            "expected HOST or HOST:PORT, such as 127.0.0.1:8000, [::1]:8000 or 0.0.0.0, with a port from 0 to"
            f" {HIGHEST_PORT} (0: any free port)"
        )
    _check_can_listen(host)
    return Bind(host, number)


def parse_json_file(value: Any) -> JsonFile:
    """Reads a file that holds a JSON object. Raises SettingsError."""
    path = file_path(value)
    if not path.is_file():
        raise SettingsError("there is no such file; expected a file that holds a JSON object")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"the file cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise SettingsError('expected a file that holds a JSON object, such as {"browserVersion": "stable"}')
    return JsonFile(path, content)


def without_user_info(text: str) -> str:
    """Replaces user name and password by `***` in text with an address, even if the address is not valid."""
    return _USER_INFO.sub(lambda match: f"{match.group(1) or ''}***@", text)


def is_loopback(host: str) -> bool:
    """Whether a host is a loopback name or address, without a DNS lookup."""
    name = host.strip("[]").lower().rstrip(".")
    address = _ip(name)
    return name == "localhost" or name.endswith(".localhost") or (address is not None and address.is_loopback)


def bracketed(host: str) -> str:
    """A host as it stands in a URL: IPv6 addresses are in brackets."""
    return f"[{host}]" if ":" in host else host


def authorities(scheme: str, host: str, port: int) -> set[str]:
    """How a browser or a proxy may write host and port in a `Host` header, in lower case."""
    name = bracketed(host).lower()
    bare = {name} if _DEFAULT_PORTS.get(scheme) == port else set()
    return {f"{name}:{port}", *bare}


def port_of(parts: SplitResult) -> int:
    """The port of an http or https address, which is 80 or 443 if the address does not name one."""
    return parts.port or _DEFAULT_PORTS[parts.scheme]


def local_address_towards(host: str, port: int, family: int = socket.AF_UNSPEC) -> str | None:
    """This machine's address on the route to another host; None if there is no route. Sends nothing."""
    try:
        addresses = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)
    except OSError:
        return None
    for kind, protocol, address in ((one[0], one[2], one[4]) for one in addresses):
        with contextlib.suppress(OSError), socket.socket(kind, socket.SOCK_DGRAM, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    return None


def _split(value: Any, example: str) -> SplitResult:
    invalid = SettingsError(f"expected an address that begins with http:// or https://, such as {example}")
    try:
        parts = urlsplit(str(value).strip())
        port = parts.port
    except ValueError:
        raise invalid from None
    host = bracketed(parts.hostname or "")
    if parts.scheme not in _DEFAULT_PORTS or port == 0 or not _HOST.fullmatch(host):
        raise invalid
    if parts.query or parts.fragment or re.search(r"[\s\x00-\x1f\\]", parts.path):
        raise SettingsError(f"expected an address without spaces, '?' and '#', such as {example}")
    return parts


def _host_and_port(text: str) -> tuple[str, str]:
    if _ip(text) is not None:
        return text, ""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        valid = closed and _ip(host) is not None and (not rest or rest[0] == ":")
        return (host, rest[1:]) if valid else ("", "")
    host, _, port = text.partition(":")
    return (host, port) if _HOST.fullmatch(host) else ("", "")


def _check_can_listen(host: str) -> None:
    """Raises SettingsError unless this machine can listen on `host`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"this machine cannot listen at this address ({error.strerror}); expected one of its own"
            " addresses, such as 127.0.0.1, or 0.0.0.0 for all of them"
        ) from None


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
