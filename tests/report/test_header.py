"""The line in the header of a pytest run."""

from __future__ import annotations

from pytest_tfjs.report.header import HeaderItem, header_line


def test_header_line_shows_versions_and_origin_of_values():
    items = [HeaderItem("backends", "webgl,wasm", "command line"), HeaderItem("browsers", "chrome\x1b")]
    assert header_line("0.1.0", "4.22.0", items) == (
        r"tfjs: 0.1.0, TF.js 4.22.0, backends webgl,wasm (command line), browsers chrome\x1b"
    )
    assert header_line("0.1.0", None, []) == "tfjs: 0.1.0, TF.js not found"
