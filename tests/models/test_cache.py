from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from pytest_tfjs.errors import TfjsError
from pytest_tfjs.models.cache import ContentCache
from tests.support.cache_entries import DATA, Builder, rebuilt, start


@pytest.fixture
def cache(tmp_path):
    with ContentCache(tmp_path / "cache") as cache:
        yield cache


def test_an_entry_is_built_once(cache):
    builder = Builder()
    first = cache.entry("kind", "key", builder)
    second = cache.entry("kind", "key", builder)
    assert first == second
    assert builder.calls == 1
    assert (first / "sub" / "weights.bin").read_bytes() == DATA


def test_entries_differ_by_kind_and_key(cache):
    builder = Builder()
    folders = {cache.entry(kind, key, builder) for kind in ("a", "b") for key in ("x", "y")}
    assert len(folders) == builder.calls == 4


def test_another_process_reads_the_entry(tmp_path):
    with ContentCache(tmp_path) as one:
        one.entry("kind", "key", Builder())
    builder = Builder()
    with ContentCache(tmp_path) as two:
        two.entry("kind", "key", builder)
    assert builder.calls == 0


def truncate(folder):
    (folder / "sub" / "weights.bin").write_bytes(DATA[:-1])


def flip_a_bit(folder):
    path = folder / "sub" / "weights.bin"
    status = path.stat()
    path.write_bytes(DATA[:100] + bytes([DATA[100] ^ 1]) + DATA[101:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def add_a_foreign_file(folder):
    (folder / "sub" / "foreign.bin").write_bytes(b"x")


def remove_a_file(folder):
    (folder / "model.json").unlink()


def link_a_file(folder):
    path = folder / "sub" / "weights.bin"
    target = folder.parent.parent / "elsewhere.bin"
    path.rename(target)
    path.symlink_to(target)


def remove_the_manifest(folder):
    (folder.parent / "manifest.json").unlink()


def tear_the_manifest(folder):
    path = folder.parent / "manifest.json"
    path.write_bytes(path.read_bytes()[:20])


def change_manifest(**changes):
    def change(folder):
        path = folder.parent / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    change.__name__ = "manifest_" + "_".join(changes)
    return change


def replace_by_a_file(folder):
    for path in sorted(folder.parent.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.parent.rmdir()
    folder.parent.write_text("not a folder")


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip_a_bit,
        add_a_foreign_file,
        remove_a_file,
        link_a_file,
        remove_the_manifest,
        tear_the_manifest,
        replace_by_a_file,
        change_manifest(schema=0),
        change_manifest(key="another"),
        change_manifest(kind="another"),
        change_manifest(files=[]),
        change_manifest(files={"model.json": None}),
    ],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_entry_is_rebuilt(cache, damage):
    folder = cache.entry("kind", "key", Builder())
    damage(folder)
    assert rebuilt(cache, folder)
    assert not rebuilt(cache, folder)


def test_an_entry_moved_from_another_key_is_rebuilt(cache):
    folder = cache.entry("kind", "key", Builder())
    other = cache.entry("kind", "other", Builder(b"other"))
    folder.parent.rename(folder.parent.with_name("gone"))
    other.parent.rename(folder.parent)
    assert rebuilt(cache, folder)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "bad"), KeyboardInterrupt(), ValueError("bad")])
def test_a_failed_build_leaves_no_files(cache, tmp_path, error):
    def build(folder):
        (folder / "half").write_bytes(DATA)
        raise error

    with pytest.raises(type(error)) as caught:
        cache.entry("kind", "key", build)
    assert caught.value is error
    assert list(tmp_path.rglob("half")) == []
    assert list(tmp_path.rglob("staging-*")) == []
    assert rebuilt(cache, cache.root / "entries" / "kind" / "key" / "content")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Quota exceeded"),
        TfjsError("converting failed: OSError: [Errno 28] No space left on device"),
    ],
)
def test_a_full_disk_is_reported_with_a_remedy(cache, error):
    def build(_):
        raise error

    with pytest.raises(TfjsError, match=r"is full: .* bytes are left at .*\. Make room") as caught:
        cache.entry("kind", "key", build)
    assert caught.value.__cause__ is error


def test_a_disk_that_is_full_at_the_manifest_leaves_no_files(cache, tmp_path, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(TfjsError, match="the disk with the cache of converted models is full"):
        cache.entry("kind", "key", lambda folder: (folder / "data").write_bytes(DATA) and None)
    assert list(tmp_path.rglob("data")) == []


def test_a_failed_rebuild_does_not_restore_the_damaged_entry(cache):
    folder = cache.entry("kind", "key", Builder())
    truncate(folder)

    def fail(_):
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        cache.entry("kind", "key", fail)
    assert rebuilt(cache, folder)


def test_a_link_in_a_built_entry_is_rejected(cache):
    with pytest.raises(ValueError, match="not a regular file"):
        cache.entry("kind", "key", lambda folder: (folder / "link").symlink_to("/etc/hostname"))


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a.b", "a b", "x" * 129])
def test_names_that_could_escape_the_root_are_rejected(cache, name):
    for kind, key in ((name, "key"), ("kind", name)):
        with pytest.raises(ValueError, match="cache name"):
            cache.entry(kind, key, Builder())


def test_a_root_that_is_not_writable_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TfjsError, match=r"cannot be written.*cache_dir"):
        ContentCache(tmp_path / "file" / "cache").entry("kind", "key", Builder())


def test_without_a_root_the_cache_is_temporary():
    with ContentCache(None) as cache:
        folder = cache.entry("kind", "key", Builder())
        assert (folder / "model.json").is_file()
    assert not cache.root.exists()


def test_close_removes_the_session(tmp_path):
    with ContentCache(tmp_path) as cache:
        cache.entry("kind", "key", Builder())
        assert len(list((tmp_path / "sessions").iterdir())) == 2
    assert list((tmp_path / "sessions").iterdir()) == []


def age(folder, seconds):
    manifest = folder.parent / "manifest.json"
    then = manifest.stat().st_mtime - seconds
    os.utime(manifest, (then, then))


def keys(cache):
    return sorted(path.name for path in (cache.root / "entries" / "kind").iterdir())


def test_prune_removes_the_oldest_entry_over_the_size_limit(tmp_path):
    with ContentCache(tmp_path) as cache:
        for number, key in enumerate(("c", "a", "b")):
            age(cache.entry("kind", key, Builder()), 100 - number)
    with ContentCache(tmp_path, max_bytes=int(2.5 * len(DATA))) as cache:
        cache.prune()
        assert keys(cache) == ["a", "b"]


def test_prune_prefers_one_large_entry_to_many_small_ones(tmp_path):
    def large(folder):
        (folder / "activations").write_bytes(bytes(30 * len(DATA)))

    with ContentCache(tmp_path) as cache:
        age(cache.entry("kind", "old", Builder()), 100)
        cache.entry("kind", "large", large)
    with ContentCache(tmp_path, max_bytes=25 * len(DATA)) as cache:
        cache.prune()
        assert keys(cache) == ["old"]


def test_reading_an_entry_renews_its_age(tmp_path):
    with ContentCache(tmp_path) as cache:
        for number, key in enumerate(("a", "b")):
            age(cache.entry("kind", key, Builder()), 100 - number)
        cache.entry("kind", "a", Builder())
    with ContentCache(tmp_path, max_bytes=int(1.5 * len(DATA))) as cache:
        cache.prune()
        assert keys(cache) == ["a"]


def test_prune_removes_entries_over_the_age_limit(tmp_path):
    with ContentCache(tmp_path) as cache:
        age(cache.entry("kind", "old", Builder()), 1000)
        cache.entry("kind", "new", Builder())
    with ContentCache(tmp_path, max_age_s=500) as cache:
        cache.prune()
        assert keys(cache) == ["new"]


def test_building_an_entry_prunes_the_cache(tmp_path):
    with ContentCache(tmp_path) as cache:
        age(cache.entry("kind", "old", Builder()), 1000)
    with ContentCache(tmp_path, max_age_s=500) as cache:
        cache.entry("kind", "new", Builder())
        assert keys(cache) == ["new"]


def test_an_entry_in_use_is_never_pruned(tmp_path):
    with ContentCache(tmp_path) as user:
        folder = user.entry("kind", "key", Builder())
        age(folder, 1000)
        with ContentCache(tmp_path, max_bytes=0, max_age_s=1) as other:
            other.prune()
            assert (folder / "model.json").is_file()
            user.close()
            other.prune()
            assert not folder.exists()


def test_an_entry_is_released_when_its_process_ends(tmp_path):
    script = (
        "import sys; from pathlib import Path; from pytest_tfjs.models.cache import ContentCache\n"
        "cache = ContentCache(Path(sys.argv[1]))\n"
        "cache.entry('kind', 'key', lambda folder: (folder / 'x').write_text('x'))\n"
        "print('built', flush=True); sys.stdin.readline()"
    )
    process = start(script, tmp_path)
    assert process.stdout.readline() == "built\n"
    with ContentCache(tmp_path, max_bytes=0) as cache:
        cache.prune()
        assert keys(cache) == ["key"]
        process.kill()
        process.communicate()
        cache.prune()
        assert keys(cache) == []
