from __future__ import annotations

import pytest

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings.addresses import (
    Bind,
    PublicUrl,
    authorities,
    is_loopback,
    local_address_towards,
    parse_bind,
    parse_json_file,
    parse_public_url,
    parse_remote,
    without_user_info,
)
from pytest_tfjs.settings.settings import Settings


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http://hub:4444", "hub", 4444),
        ("http://hub", "hub", 80),
        ("https://hub.example/wd/hub", "hub.example", 443),
        ("http://[::1]:4444", "::1", 4444),
    ],
)
def test_the_address_of_a_grid_is_parsed(text, host, port):
    remote = parse_remote(text)
    assert (str(remote), remote.host, remote.port) == (text, host, port)
    assert (remote.username, remote.password) == (None, None)


def test_the_credentials_of_a_grid_are_not_shown():
    remote = parse_remote("https://me%40ci:s%3Acret@hub.example/wd/hub/")
    assert (remote.url, remote.username, remote.password) == ("https://hub.example/wd/hub", "me@ci", "s:cret")
    settings = Settings().updated({"remote": "https://me:secret@hub.example"}, "command line")
    for text in (str(remote), repr(remote), repr(settings), settings.spelled("remote")):
        assert "hub.example" in text
        assert "cret" not in text
        assert "me@" not in text


@pytest.mark.parametrize(
    "wrong",
    [
        "me:secret@hub",
        "ftp://me:secret@hub",
        "https://me:sec/ret@hub",
        "https://me:secret@",
        "https://me:secret@h?x",
        "https://secret@hub",
        "https://:secret@hub",
    ],
)
def test_the_message_for_an_invalid_address_hides_the_key(wrong):
    with pytest.raises(SettingsError) as caught:
        Settings().updated({"remote": wrong}, "command line")
    assert "--tfjs-remote=" in str(caught.value)
    assert "***@" in str(caught.value)
    assert "ret" not in str(caught.value)


@pytest.mark.parametrize("text", ["http://hub:4444", "--tfjs-remote=http://hub"])
def test_text_without_credentials_is_unchanged(text):
    assert without_user_info(text) == text


def test_capabilities_are_not_shown(tmp_path):
    path = tmp_path / "capabilities.json"
    path.write_text('{"cloud:options": {"accessKey": "secret"}}')
    file = parse_json_file(path)
    assert file.content == {"cloud:options": {"accessKey": "secret"}}
    assert str(file) == str(path)
    assert "secret" not in repr(Settings().updated({"capabilities": path}, "command line"))


@pytest.mark.parametrize("text", ["[]", "1", "null", '"text"', "{", "", "[" * 100_000])
def test_a_capabilities_file_without_a_json_object_is_rejected(tmp_path, text):
    path = tmp_path / "capabilities.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="JSON"):
        parse_json_file(path)


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("127.0.0.1", "127.0.0.1", 0, "127.0.0.1"),
        ("127.0.0.2:8000", "127.0.0.2", 8000, "127.0.0.2:8000"),
        ("localhost:0", "localhost", 0, "localhost"),
        ("0.0.0.0:65535", "0.0.0.0", 65535, "0.0.0.0:65535"),
        ("::1", "::1", 0, "[::1]"),
        ("[::1]", "::1", 0, "[::1]"),
        ("[::1]:8000", "::1", 8000, "[::1]:8000"),
        ("::", "::", 0, "[::]"),
    ],
)
def test_bind_is_parsed(text, host, port, shown):
    bind = parse_bind(text)
    assert bind == Bind(host, port)
    assert str(bind) == shown
    assert bind.is_wildcard == (host in {"0.0.0.0", "::"})


@pytest.mark.parametrize(
    "text", ["", ":8000", "[::1]8000", "::1]:8000", "1.2.3.4:-1", "a:b:c", "http://x", "a/b"]
)
def test_an_invalid_bind_is_refused(text):
    with pytest.raises(SettingsError, match="expected HOST or HOST:PORT"):
        parse_bind(text)


def test_a_public_address_may_contain_the_port():
    public = parse_public_url("https://ci.example:{port}/of/{port}/")
    assert public.names_port
    assert public.at(8000) == PublicUrl("https://ci.example:8000/of/8000")
    assert not public.at(8000).names_port


@pytest.mark.parametrize(
    "text", ["https://me:key@ci.example", "https://ci.example/a b", "https://ci.example\\a"]
)
def test_an_invalid_public_address_is_refused(text):
    with pytest.raises(SettingsError, match="expected"):
        parse_public_url(text)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.3.2.1", "::1", "[::1]"]
)
def test_loopback_hosts(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost.example", "0.0.0.0", "10.0.0.1", "grid", "::", "127.0.0.1.example"]
)
def test_hosts_that_may_be_another_machine(host):
    assert not is_loopback(host)


def test_authorities_with_and_without_the_default_port():
    assert authorities("https", "CI.example", 443) == {"ci.example", "ci.example:443"}
    assert authorities("https", "ci.example", 80) == {"ci.example:80"}
    assert authorities("http", "::1", 80) == {"[::1]", "[::1]:80"}


def test_the_local_address_on_a_route():
    assert local_address_towards("127.0.0.1", 9) == "127.0.0.1"
    assert local_address_towards("no.such.host.invalid", 9) is None
