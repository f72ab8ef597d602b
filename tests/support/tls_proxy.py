"""A proxy that adds TLS in front of a server without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def tls_proxy(folder: Path, host: str, port: int, upstream: tuple[str, int]) -> Iterator[list[bytes]]:
    """Listens at `host` and `port` with a certificate of its own; gives the first lines that came."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_certificate(folder, host))
    lines: list[bytes] = []
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            # Browsers open connections in advance and close unused ones.
            if first := await reader.readline():
                lines.append(first)
                inner, outer = await asyncio.open_connection(*upstream)
                outer.write(first)
                await asyncio.gather(_pass_on(reader, outer), _pass_on(inner, writer))
        writer.close()

    started = loop.run_until_complete(asyncio.start_server(serve, host, port, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        loop.call_soon_threadsafe(started.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()


def _certificate(folder: Path, host: str) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2"]
    named = ["-subj", "/CN=tests", "-addext", f"subjectAltName=IP:{host}"]
    subprocess.run(["openssl", "req", "-x509", *made, *named], check=True, capture_output=True)
    return certificate, key
