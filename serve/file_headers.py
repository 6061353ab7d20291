"""What HTTP says of the bytes of a file: kind, name, part, version. Knows no file and no caller.

Whatever the bytes are, a browser is told to run nothing of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from ecm.images.signature import ImageFormat, identify
from serve.api import Failed
from serve.problem import Problem

POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
CACHING = "private, no-cache"
"""Kept by the browser, and asked for again each time: a key may have ended, an asset be gone."""

SHOWN = {
    ImageFormat.JPEG: "image/jpeg",
    ImageFormat.PNG: "image/png",
    ImageFormat.GIF: "image/gif",
    ImageFormat.WEBP: "image/webp",
    ImageFormat.AVIF: "image/avif",
    ImageFormat.BMP: "image/bmp",
}
"""What a browser shows; everything else is saved, as bytes."""

BYTES = "application/octet-stream"
MAX_NAME = 150

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_ODD = re.compile(r"[^A-Za-z0-9._ -]")


def media_type_of(data: bytes) -> str:
    """By the bytes; names play no part."""
    kind = identify(data)
    return SHOWN.get(kind, BYTES) if kind else BYTES


def headers_of(tag: str, name: str, media_type: str) -> dict[str, str]:
    """What goes with the bytes of version `tag` of a file of this name."""
    return {
        "ETag": tag,
        "Cache-Control": CACHING,
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(name, media_type),
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
    }


def part_of(asked: Mapping[str, str], tag: str, size: int) -> tuple[int, int] | None:
    """Start and end of the part that headers ask for, or None for the whole (RFC 9110, 14.2).

    What is no range of bytes, or several of them, and a range of another version than the client
    has the rest of, is answered whole. Raises Failed with 416.
    """
    found = _RANGE.fullmatch(asked.get("range", "").strip())
    if not found or not any(found.groups()) or asked.get("if-range", tag) != tag:
        return None
    first, last = found.groups()
    if first and last and int(last) < int(first):
        return None
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
    else:
        start, end = max(0, size - int(last)), size
    if start >= end:
        unit = {"Content-Range": f"bytes */{size}"}
        raise Failed(Problem(416, "original.range", f"it has {size} bytes", headers=unit))
    return start, end


def is_known(asked: Mapping[str, str], tag: str) -> bool:
    """Whether the client says that it has this version (If-None-Match)."""
    condition = asked.get("if-none-match", "")
    tags = [each.strip().removeprefix("W/") for each in condition.split(",")]
    return tag in tags or condition.strip() == "*"


def disposition(name: str, media_type: str) -> str:
    """Shown where a browser can, else saved; under a name that ends no header and no path."""
    kind = "attachment" if media_type == BYTES else "inline"
    name = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in name)[-MAX_NAME:]
    name = name.lstrip(". ") or "original"
    plain = _ODD.sub("_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
