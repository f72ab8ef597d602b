"""Caches folders by content: builds each once, checks every read, rebuilds if damaged."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from pytest_tfjs.errors import TfjsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from filelock import BaseFileLock
    from typing_extensions import Self

SCHEMA = 1
MAX_BYTES = 4 * 2**30
MAX_AGE_S = 30 * 24 * 3600.0
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_BLOCK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NEARLY_FULL = 1 << 16
"""With fewer free bytes than this, any failure counts as a full disk."""


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class ContentCache:
    """Folders under one root, named by kind and key, which several processes can share.

    Layout: `entries/KIND/KEY/{manifest.json, content/}`; `locks/` has a lock for each entry; `sessions/ID/`
    has the folders that one process is building and marks for the entries that it uses, and the process holds
    `sessions/ID.lock` as long as it lives. A session whose lock is free is dead, and its files are removed.
    With root None the cache is a temporary directory that `close()` removes.
    """

    def __init__(
        self, root: Path | None, *, max_bytes: int = MAX_BYTES, max_age_s: float = MAX_AGE_S
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pytest-tfjs-") if root is None else None
        self.root = Path(self._temporary.name) if self._temporary is not None else Path(root or "").absolute()
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._mutex = threading.Lock()
        self._session: Path | None = None
        self._session_lock: BaseFileLock | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def entry(self, kind: str, key: str, build: Callable[[Path], None]) -> Path:
        """The cached folder for this key, filled by `build` if it is missing or damaged.

        `build` gets an empty folder and writes regular files only; if it raises, nothing is cached.
        Concurrent calls for one key, in this process or others, build once. The folder stays until `close()`:
        pruning never removes an entry in use by a living process.
        Raises ValueError for an invalid kind or key, TfjsError where the root cannot be written.
        """
        for name in (kind, key):
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"the cache name {name!r} is invalid: expected 1 to 128 letters, digits, '-' or '_'"
                )
        session = self._open_session()
        folder = self.root / "entries" / kind / key
        with self._lock(kind, key):
            (session / "uses" / f"{kind}.{key}").touch()
            if _is_intact(folder, kind, key):
                os.utime(folder / "manifest.json")
                return folder / "content"
            self._build(folder, kind, key, build, session)
        self.prune()
        return folder / "content"

    def prune(self) -> None:
        """Removes entries that no living process uses: those too old, then those over the size limit.

        Over the limit, entries larger than half of it are removed first, so that one large model does not
        displace all others; then the oldest.
        """
        used = self._sweep_sessions()
        entries = sorted(_entries(self.root), key=lambda entry: (entry[2] <= self._max_bytes // 2, entry[1]))
        total = sum(size for _, _, size in entries)
        too_old = time.time() - self._max_age_s
        for folder, last_used, size in entries:
            if last_used >= too_old and total <= self._max_bytes:
                continue
            kind, key = folder.parent.name, folder.name
            if f"{kind}.{key}" not in used and self._remove(folder, kind, key, last_used):
                total -= size

    def close(self) -> None:
        """Releases the entries in use; removes a temporary cache."""
        session, lock = self._session, self._session_lock
        self._session = self._session_lock = None
        if session is not None:
            shutil.rmtree(session, ignore_errors=True)
        if lock is not None:
            lock.release()
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _lock(self, kind: str, key: str, *, timeout_s: float = -1) -> BaseFileLock:
        # Lock files stay: unlinking one that another process waits for would let two processes in.
        return FileLock(self.root / "locks" / f"{kind}.{key}.lock", timeout=timeout_s, thread_local=False)

    def _open_session(self) -> Path:
        with self._mutex:
            if self._session is None:
                self._session, self._session_lock = self._new_session()
            return self._session

    def _new_session(self) -> tuple[Path, BaseFileLock]:
        name = uuid.uuid4().hex
        session = self.root / "sessions" / name
        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            session.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(session.parent / f"{name}.lock", thread_local=False)
            lock.acquire()
            (session / "uses").mkdir(parents=True)
        except OSError as error:
            raise TfjsError(
                f"the cache of converted models at {self.root} cannot be written: {error}. Choose a "
                "writable folder with `-o cache_dir=DIR`, or a temporary one with `-p no:cacheprovider`"
            ) from error
        return session, lock

    def _build(self, folder: Path, kind: str, key: str, build: Callable[[Path], None], session: Path) -> None:
        staging = session / f"staging-{uuid.uuid4().hex}"
        try:
            content = staging / "content"
            content.mkdir(parents=True)
            build(content)
            manifest = {"schema": SCHEMA, "kind": kind, "key": key, "files": _describe(content)}
            (staging / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
            self._discard(folder)
            folder.parent.mkdir(parents=True, exist_ok=True)
            staging.replace(folder)
        except Exception as error:
            free = shutil.disk_usage(self.root).free  # before the unfinished entry is removed
            if not _says_full(error) and free >= _NEARLY_FULL:
                raise
            raise TfjsError(
                "the disk with the cache of converted models is full:"
                f" {free} bytes are left at {self.root}. Make room there, or choose another folder with"
                f" `-o cache_dir=DIR`. The error was: {error}"
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _discard(self, folder: Path) -> None:
        if not os.path.lexists(folder):
            return
        # Renamed first, so that no reader finds a partly removed entry under its name.
        grave = self._open_session() / f"grave-{uuid.uuid4().hex}"
        folder.replace(grave)
        if grave.is_dir() and not grave.is_symlink():
            shutil.rmtree(grave, ignore_errors=True)
        else:
            grave.unlink()

    def _remove(self, folder: Path, kind: str, key: str, last_used: float) -> bool:
        try:
            with self._lock(kind, key, timeout_s=0):
                # A process that has taken the entry meanwhile has touched it, under this lock.
                if _last_used(folder) != last_used:
                    return False
                self._discard(folder)
                return True
        except (Timeout, OSError):
            return False

    def _sweep_sessions(self) -> set[str]:
        """The entries that living sessions use; removes the files of dead sessions."""
        used: set[str] = set()
        sessions = self.root / "sessions"
        for path in list(sessions.iterdir()) if sessions.is_dir() else []:
            if not path.is_dir():
                continue
            lock = FileLock(sessions / f"{path.name}.lock", timeout=0, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                with contextlib.suppress(OSError):  # it may close at this moment
                    used.update(mark.name for mark in (path / "uses").iterdir())
                continue
            except OSError:
                continue
            shutil.rmtree(path, ignore_errors=True)
            lock.release()
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink()
        return used


def _says_full(error: Exception) -> bool:
    code = error.errno if isinstance(error, OSError) else None
    return code in _FULL or os.strerror(errno.ENOSPC) in str(error)


def _files(content: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(content.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ValueError(f"{path} is not a regular file")
        if path.is_file():
            yield path.relative_to(content).as_posix(), path


def _describe(content: Path) -> dict[str, dict[str, Any]]:
    return {
        name: {"bytes": path.stat().st_size, "sha256": file_digest(path)} for name, path in _files(content)
    }


def _is_intact(folder: Path, kind: str, key: str) -> bool:
    """Whether the entry is complete and unchanged since it was built for this kind and key."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        files = manifest["files"]
        if (manifest["schema"], manifest["kind"], manifest["key"]) != (SCHEMA, kind, key):
            return False
        found = dict(_files(folder / "content"))
        if folder.is_symlink() or (folder / "content").is_symlink() or found.keys() != files.keys():
            return False
        # Sizes first, so that a truncated entry is not read.
        if any(path.stat().st_size != files[name]["bytes"] for name, path in found.items()):
            return False
        return all(file_digest(path) == files[name]["sha256"] for name, path in found.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _last_used(folder: Path) -> float:
    try:
        return (folder / "manifest.json").stat().st_mtime
    except OSError:
        return 0.0


def _entries(root: Path) -> Iterator[tuple[Path, float, int]]:
    """Each entry with the time of its last use, in seconds since the epoch, and its size in bytes."""
    for folder in (root / "entries").glob("*/*"):
        size = 0
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                size += 0 if path.is_dir() else path.lstat().st_size
        yield folder, _last_used(folder), size
