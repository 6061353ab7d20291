"""Walks TIFF and BigTIFF directories: first page's size, number of pages, plausible tag sizes.

Follows the chain of directories with a memory, so a loop ends it. Source: TIFF 6.0; BigTIFF design.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ecm.images.checks import Header, Size, check_frames, corrupt, truncated
from ecm.images.limits import ImageLimits
from ecm.images.signature import ImageFormat

_WIDTH, _HEIGHT = 256, 257
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_MAX_ENTRIES = 4_096


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things are in a directory: `struct` formats of its count, entries and pointers."""

    order: str
    count: str
    entry: str
    pointer: str
    first: int

    def unpack(self, form: str, data: bytes, at: int) -> tuple[int, ...]:
        if at < 0 or at + struct.calcsize(self.order + form) > len(data):
            raise truncated("a TIFF directory")
        return struct.unpack_from(self.order + form, data, at)


def walk_tiff(data: bytes, limits: ImageLimits) -> Header:
    """Size of the first page and number of pages; the decoder turns by the orientation tag itself.

    Raises ImageError: `decode.truncated`, `decode.corrupt` (also when tags claim more data than the
    file has, which would be read again and again), `decode.too_many_frames`.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\x00", b"\x00+")
    layout = _Layout(order, "Q", "HHQQ", "Q", 8) if big else _Layout(order, "H", "HHII", "I", 4)
    (at,) = layout.unpack(layout.pointer, data, layout.first)
    size = _first_page(data, layout, at)
    seen: set[int] = set()
    while at and at not in seen:
        seen.add(at)
        check_frames(len(seen), limits)
        at = _next_directory(data, layout, at)
        if at + struct.calcsize(order + layout.count) > len(data):
            break
    return Header(ImageFormat.TIFF, size, None, len(seen), data)


def _next_directory(data: bytes, layout: _Layout, at: int) -> int:
    """Where the directory after the one at `at` begins; 0 after the last, or when it is cut off."""
    (entries,) = layout.unpack(layout.count, data, at)
    head, entry = struct.calcsize("=" + layout.count), struct.calcsize("=" + layout.entry)
    pointer_at = at + head + entries * entry
    if pointer_at + struct.calcsize("=" + layout.pointer) > len(data):
        return 0
    return layout.unpack(layout.pointer, data, pointer_at)[0]


def _first_page(data: bytes, layout: _Layout, at: int) -> Size:
    (entries,) = layout.unpack(layout.count, data, at)
    if not 0 < entries <= _MAX_ENTRIES:
        raise corrupt(f"a TIFF directory with {entries} entries")
    at += struct.calcsize("=" + layout.count)
    sides: dict[int, int] = {}
    claimed = 0
    for _ in range(entries):
        tag, kind, count, value = layout.unpack(layout.entry, data, at)
        claimed += count * _TYPE_BYTES.get(kind, 1)
        if tag in (_WIDTH, _HEIGHT):
            sides[tag] = _inline(layout, kind, value)
        at += struct.calcsize("=" + layout.entry)
    if claimed > 2 * len(data) + 65_536:
        raise corrupt("TIFF tags that claim more data than the file has")
    if len(sides) != 2:
        raise corrupt("a TIFF page without a size")
    return sides[_WIDTH], sides[_HEIGHT]


def _inline(layout: _Layout, kind: int, value: int) -> int:
    """A short or long kept in the value field; big-endian values lie at its upper end."""
    width = struct.calcsize("=" + layout.pointer)
    raw = value.to_bytes(width, "little" if layout.order == "<" else "big")
    return int.from_bytes(
        raw[: _TYPE_BYTES.get(kind, width)], "little" if layout.order == "<" else "big"
    )
