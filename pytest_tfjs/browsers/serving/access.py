"""Addresses of the server: where it listens, what browsers open, which hosts it accepts."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_tfjs.errors import BrowserError
from pytest_tfjs.settings.addresses import (
    LOOPBACK,
    Bind,
    authorities,
    bracketed,
    is_loopback,
    local_address_towards,
    port_of,
)

if TYPE_CHECKING:
    from pytest_tfjs.settings.addresses import PublicUrl, RemoteUrl

# A documentation address that no host has (RFC 5737): its route is the default route out of this machine.
_ELSEWHERE = ("192.0.2.1", 9)


@dataclass(frozen=True)
class Address:
    """Where the server listens and how browsers reach it, by the user's settings.

    `public`: the URL that browsers open; None: the bound address. `remote`: the Grid that starts browsers.
    """

    bind: Bind = field(default_factory=Bind)
    public: PublicUrl | None = None
    remote: RemoteUrl | None = None

    def reached_host(self) -> str:
        """The host at which browsers reach the server if the user set no public URL.

        If the server is bound to all addresses, this is the machine's address on the route to the Grid, or
        on the default route if the Grid is on this machine, perhaps in a container. Raises BrowserError if
        there is no route to the Grid.
        """
        if not self.bind.is_wildcard:
            return self.bind.host
        if self.remote is None:
            return LOOPBACK
        family = socket.AF_INET if ":" not in self.bind.host else socket.AF_UNSPEC
        towards = local_address_towards(self.remote.host, self.remote.port, family)
        if towards is None:
            raise BrowserError(
                f"cannot determine the address at which {self.remote} reaches this machine: there is no route"
                f" from here to {self.remote.host}. Set the address with --tfjs-public-url, for example"
                " http://192.0.2.7:{port}"
            )
        outward = local_address_towards(*_ELSEWHERE, socket.AF_INET) if is_loopback(towards) else towards
        return LOOPBACK if outward is None else outward


@dataclass(frozen=True)
class Access:
    """The addresses of a server that is bound to a port.

    `base`: the beginning of all its URLs, without a slash at the end. `hosts` and `origins`: the accepted
    values of the headers `Host` and `Origin`; with `all_addresses`, the address at which a connection arrives
    is accepted too. `prefix`: the path that a user's proxy puts before the server's paths. `sockets`: the
    WebSocket sources for the page's security policy.
    """

    base: str
    hosts: frozenset[bytes]
    origins: frozenset[bytes]
    prefix: str
    sockets: tuple[str, ...]
    all_addresses: bool

    @property
    def origin(self) -> str:
        """The page's origin, as browsers write it."""
        parts = urlsplit(self.base)
        host = parts.hostname or ""
        return f"{parts.scheme}://{min(authorities(parts.scheme, host, port_of(parts)), key=len)}"

    @property
    def is_secure(self) -> bool:
        """Whether browsers treat the page as a secure context: https, or a loopback address."""
        parts = urlsplit(self.base)
        return parts.scheme == "https" or is_loopback(parts.hostname or "")

    def is_host(self, value: bytes, arrived: tuple[str, int] | None) -> bool:
        """Whether a `Host` is accepted; `arrived`: the address at which the connection arrived."""
        return value.lower() in self.hosts | self._arrived(arrived)

    def is_origin(self, value: bytes, arrived: tuple[str, int] | None) -> bool:
        """Whether an `Origin` is accepted; `arrived` as for `is_host`."""
        own = {b"http://" + host for host in self._arrived(arrived)}
        return value.lower() in self.origins | own

    def path(self, path: str) -> str:
        """A request's path without the prefix; some proxies remove it themselves."""
        return path[len(self.prefix) :] if self.prefix and path.startswith(f"{self.prefix}/") else path

    def _arrived(self, arrived: tuple[str, int] | None) -> set[bytes]:
        if not self.all_addresses or arrived is None:
            return set()
        address = ipaddress.ip_address(arrived[0].partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return _encoded(authorities("http", str(mapped or address), arrived[1]))


def access_of(address: Address, listening: socket.socket) -> Access:
    """The access to the server at a bound socket. Raises BrowserError if its address is unknown."""
    bound, port = listening.getsockname()[:2]
    public = None if address.public is None else address.public.at(port)
    host = LOOPBACK if public is not None and address.bind.is_wildcard else address.reached_host()
    inner = authorities("http", host, port)
    if not address.bind.is_wildcard:
        inner |= authorities("http", bound, port)
    parts = urlsplit(f"http://{min(authorities('http', host, port), key=len)}")
    sockets, outer = _sockets("http", host, port), set[str]()
    if public is not None:
        parts = public.parts
        outer = authorities(parts.scheme, parts.hostname or "", port_of(parts))
        sockets |= _sockets(parts.scheme, parts.hostname or "", port_of(parts))
    origins = {f"http://{one}" for one in inner} | {f"{parts.scheme}://{one}" for one in outer}
    # Proxies often pass the host on without the port, as in nginx's $host.
    bare = set() if public is None else {bracketed(public.parts.hostname or "")}
    return Access(
        parts.geturl(),
        frozenset(_encoded(inner | outer | bare)),
        frozenset(_encoded(origins)),
        parts.path,
        tuple(sorted(sockets)),
        address.bind.is_wildcard,
    )


def _sockets(scheme: str, host: str, port: int) -> set[str]:
    """The WebSocket source for a security policy; none for IPv6, which the grammar of policies lacks."""
    return set() if ":" in host else {f"{scheme.replace('http', 'ws')}://{host}:{port}"}


def _encoded(texts: set[str]) -> set[bytes]:
    return {text.encode("ascii") for text in texts}
