"""Bytes that are said to be text, and what is said with them. Pure."""

from __future__ import annotations

import codecs
from typing import Final

from ecm.contracts.result import WrittenKind

Said = tuple[WrittenKind, str]
"""A kind, and text as it stands there."""

MAX_BLOCK: Final = 1 << 20
"""Bytes of one block of metadata; a JPEG segment has at most 64 KiB."""
MAX_TEXT_BYTES: Final = 16_384
"""Bytes of one text; what is beyond is cut."""


def text_of(raw: bytes) -> str:
    r"""Text without a declared encoding: UTF-8, else Windows-1252, which is what is met in files.

    >>> text_of("Zürich".encode()), text_of("Café".encode("cp1252")), text_of(b"a\0")
    ('Zürich', 'Café', 'a')
    """
    whole = len(raw) <= MAX_TEXT_BYTES
    raw = raw[:MAX_TEXT_BYTES].rstrip(b"\0 ")
    try:
        # Cut in the middle of a character, the rest of it is left out.
        return codecs.getincrementaldecoder("utf-8")().decode(raw, final=whole)
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def utf16_text(raw: bytes, order: str) -> str:
    """UTF-16 text up to the first NUL. `order`, `<` or `>`, is what counts for most writers.

    A byte order mark overrules it, and so do Latin letters, whose zero bytes tell: many programs
    write in the order of their machine into a file of the other.
    """
    raw = raw[: MAX_TEXT_BYTES & ~1]
    high, low = raw[0::2].count(0), raw[1::2].count(0)
    if high != low:
        order = ">" if high > low else "<"
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        order, raw = ("<" if raw[:2] == codecs.BOM_UTF16_LE else ">"), raw[2:]
    text = raw.decode("utf-16-le" if order == "<" else "utf-16-be", errors="replace")
    return text.partition("\0")[0]
