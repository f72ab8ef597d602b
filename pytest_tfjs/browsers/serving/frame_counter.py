"""Counts fragments of WebSocket messages by their frame headers (RFC 6455, section 5.2)."""

from __future__ import annotations

_FIN, _MASKED, _OPCODE, _LENGTH = 0x80, 0x80, 0x0F, 0x7F
_CONTROL = 0x8
_EXTENDED = {126: 2, 127: 8}
_MASK_BYTES = 4


class FrameCounter:
    """Follows the frames of one WebSocket; data may come in pieces of any size."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._payload_left = 0
        self._fragments = 0

    def fragments_after(self, data: bytes) -> int:
        """How many frames the unfinished message has at most, within `data` or after it."""
        most = at = 0
        while at < len(data):
            if self._payload_left:
                skipped = min(self._payload_left, len(data) - at)
                self._payload_left -= skipped
                at += skipped
                continue
            self._header.append(data[at])
            at += 1
            if len(self._header) == self._header_size():
                self._end_header()
                most = max(most, self._fragments)
        return most

    def _header_size(self) -> int:
        if len(self._header) == 1:
            return 2
        length = self._header[1]
        return 2 + _EXTENDED.get(length & _LENGTH, 0) + (_MASK_BYTES if length & _MASKED else 0)

    def _end_header(self) -> None:
        first, length = self._header[0], self._header[1] & _LENGTH
        extended = _EXTENDED.get(length, 0)
        self._payload_left = int.from_bytes(self._header[2 : 2 + extended], "big") if extended else length
        if first & _OPCODE < _CONTROL:
            self._fragments = 0 if first & _FIN else self._fragments + 1
        self._header.clear()
