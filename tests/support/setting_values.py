"""Valid and invalid values of every setting, as users write them."""

from __future__ import annotations

import sys
from pathlib import Path

from pytest_tfjs.settings.addresses import Bind, JsonFile, PublicUrl, RemoteUrl

VALUES = {
    "backends": ("cpu, wasm,cpu", ("cpu", "wasm")),
    "browsers": ("chrome", ("chrome",)),
    "layers": ("outputs", "outputs"),
    "format": ("graph", "graph"),
    "weights": ("uint8", "uint8"),
    "rtol": ("1e-2", 0.01),
    "atol": ("0", 0.0),
    "compression": ("0.1", 0.1),
    "weight_check": ("tell", "tell"),
    "timeout": ("2.5", 2.5),
    "tap_budget": ("1.5 MiB", 1572864),
    "headed": ("yes", True),
    "browser_binary": (sys.executable, Path(sys.executable)),
    "driver_binary": (sys.executable, Path(sys.executable)),
    "remote": ("http://me:k%2Fey@hub:4444/wd/hub/", RemoteUrl("http://hub:4444/wd/hub", "me", "k/ey")),
    "bind": ("127.0.0.2:8000", Bind("127.0.0.2", 8000)),
    "public_url": ("https://ci.example/tfjs/{port}/", PublicUrl("https://ci.example/tfjs/{port}")),
    "capabilities": ("capabilities.json", JsonFile(Path("capabilities.json"), {"a": 1})),
    "json": ("results.json", Path("results.json")),
    "repro": ("pages", Path("pages")),
    "dist": ("node_modules", Path("node_modules")),
    "alone": ("none", "none"),
    "allow_vacuous": ("a, b/*", ("a", "b/*")),
    "sensitivity": ("on", True),
    "strict_targets": ("1", True),
}
"""By setting: a value in text and what it is parsed to; none is the default.

Relative paths are relative to a folder that holds a folder `node_modules` and a file
`capabilities.json` of `{"a": 1}`.
"""

INVALID = [
    ("backends", "webgk", "unknown backend 'webgk' (did you mean 'webgl'?): expected one of cpu, wasm"),
    ("backends", "webgl:f17", "unknown backend 'webgl:f17' (did you mean 'webgl:f16'?)"),
    ("browsers", "netscape", "unknown browser 'netscape': expected one of chrome"),
    ("layers", "some", "expected one of all, outputs"),
    ("format", "tflite", "expected one of auto, layers, graph"),
    ("weights", "int4", "expected one of float32, float16, uint16, uint8"),
    ("weights", "uint8:", "'' is not a pattern"),
    ("weights", "uint8,float16", "expected one dtype for all the weights that no pattern matches"),
    ("compression", "-1", "expected a number, 0 or greater"),
    ("weight_check", "off", "expected one of fail, tell"),
    ("rtol", "abc", "expected a number, 0 or greater, such as 1e-4"),
    ("rtol", "nan", "expected a number, 0 or greater"),
    ("atol", "-1", "expected a number, 0 or greater"),
    ("timeout", "0", "expected a number of seconds, more than 0, such as 300"),
    ("timeout", "-1", "expected a number of seconds, more than 0"),
    ("timeout", "inf", "expected a number"),
    ("tap_budget", "lots", "expected a number of bytes, such as 256MB, 1GiB or 268435456"),
    ("tap_budget", "-1MB", "expected a number of bytes"),
    ("tap_budget", "0", "expected more than 0 bytes"),
    ("browser_binary", "/nowhere/chrome", "there is no such file; expected the path of a program"),
    ("driver_binary", "/nowhere/chromedriver", "there is no such file; expected the path of a program"),
    ("dist", "/nowhere/node_modules", "there is no such directory; expected one that holds @tensorflow/tfjs"),
    ("json", "/", "the path is a directory; expected the name of a file"),
    ("repro", __file__, "is a file; expected the name of a directory"),
    ("repro", f"{__file__}/below", "is a file; expected the name of a directory"),
    ("json", "/dev/null/results.json", "/dev/null cannot be written to"),
    *(
        ("remote", url, "expected an address that begins with http:// or https://, such as http://localhost")
        for url in ("hub:4444", "ftp://hub", "http://", "http://hub:port", "http://hub:0", "http://a b/")
    ),
    ("remote", "http://hub/#a", "expected an address without spaces, '?' and '#'"),
    (
        "public_url",
        "ci.example",
        "expected an address that begins with http:// or https://, such as https://",
    ),
    ("public_url", "https://ci.example/?a", "expected an address without spaces, '?' and '#'"),
    ("public_url", "https://ci.example:{PORT}", "expected an address that begins with http"),
    ("bind", "everywhere!", "expected HOST or HOST:PORT, such as 127.0.0.1:8000, [::1]:8000 or 0.0.0.0"),
    ("bind", "127.0.0.1:65536", "with a port from 0 to 65535"),
    ("bind", "127.0.0.1:http", "with a port from 0 to 65535"),
    ("bind", "[::1", "expected HOST or HOST:PORT"),
    ("bind", "198.51.100.1", "this machine cannot listen at this address"),
    ("bind", "no.such.host.invalid:80", "this machine cannot listen at this address"),
    (
        "capabilities",
        "/nowhere/capabilities.json",
        "there is no such file; expected a file that holds a JSON object",
    ),
    ("capabilities", __file__, "the file cannot be read as JSON: "),
]
"""A setting, a value of it that is not valid, and a part of the message."""
