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

# A block of addresses that nobody has (RFC 5737): the way there is the way out of this machine.
_ELSEWHERE = ("192.0.2.1", 9)


@dataclass(frozen=True)
class Address:
    """Where the server listens and how it is reached, as the user told it.

    `public` None: at the address bound. `remote`: the Grid whose browsers are to reach it.
    """

    bind: Bind = field(default_factory=Bind)
    public: PublicUrl | None = None
    remote: RemoteUrl | None = None

    def reached_host(self) -> str:
        """The host by which browsers reach what is bound, where the user named no other.

        Bound to all addresses it is this machine's on the way to the Grid, or where that is on this machine
        and may be in a container, on the way out. Raises BrowserError where there is none.
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
    """The server as it is reached, now that it is bound to a port.

    `base`: what all its addresses begin with, without a slash at the end. `hosts` and `origins`: the values
    of the headers `Host` and `Origin` that are taken for ours; where it is bound to all addresses of the
    machine, that at which a connection arrives is ours too. `prefix`: the path that a user's proxy has
    before ours. `sockets`: where the page opens WebSockets, as its security policy names it.
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
        """Whether browsers take the page for a secure context: https, or on their own machine."""
        parts = urlsplit(self.base)
        return parts.scheme == "https" or is_loopback(parts.hostname or "")

    def is_host(self, value: bytes, arrived: tuple[str, int] | None) -> bool:
        """Whether a `Host` is ours; `arrived`: the address at which the connection arrived."""
        return value.lower() in self.hosts | self._arrived(arrived)

    def is_origin(self, value: bytes, arrived: tuple[str, int] | None) -> bool:
        """Whether an `Origin` is ours."""
        own = {b"http://" + host for host in self._arrived(arrived)}
        return value.lower() in self.origins | own

    def path(self, path: str) -> str:
        """A request's path without the prefix, which some proxies pass on and others do not."""
        return path[len(self.prefix) :] if self.prefix and path.startswith(f"{self.prefix}/") else path

    def _arrived(self, arrived: tuple[str, int] | None) -> set[bytes]:
        if not self.all_addresses or arrived is None:
            return set()
        address = ipaddress.ip_address(arrived[0].partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return _encoded(authorities("http", str(mapped or address), arrived[1]))


def access_of(address: Address, listening: socket.socket) -> Access:
    """The access to a server that is bound. Raises BrowserError where its address cannot be told."""
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
    # Proxies are often told to pass the host on without the port, as nginx writes it in $host.
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
    """The source of a security policy; none for IPv6, which the grammar of policies does not have."""
    return set() if ":" in host else {f"{scheme.replace('http', 'ws')}://{host}:{port}"}


def _encoded(texts: set[str]) -> set[bytes]:
    return {text.encode("ascii") for text in texts}
