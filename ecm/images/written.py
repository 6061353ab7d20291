"""What people wrote into an image file, and when it says it was taken.

Goes through the blocks that `written_blocks` finds and makes bounded, tidy words of them: EXIF,
IPTC, XMP and the comments of PNG and JPEG. Part for part: one that is malformed, too large or in an
unknown encoding is passed over, and the picture is none the worse for it. Nothing here is trusted,
and nothing is fetched or expanded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from ecm.contracts.result import MAX_WRITTEN, Written, WrittenKind, WrittenSource
from ecm.contracts.tidy import MAX_LABEL, tidy_line, tidy_lines
from ecm.images.written_blocks import blocks_of
from ecm.images.written_exif import exif_words
from ecm.images.written_iptc import iptc_words
from ecm.images.written_words import Said
from ecm.images.written_xmp import xmp_words

MOST: Final = 64
"""Rows of one file, as in the contract."""
MOST_KEYWORDS: Final = 40
"""Of one source: three sources repeat one another, and titles have to fit in beside them."""
MOST_CHARACTERS: Final = 8_000
"""Of all that stands in one file."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OLDEST: Final = 1826
"""The year of the first photograph: cameras that know no date write 0000 or 1."""
_TIME: Final = re.compile(
    r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?"
)
_MACHINE: Final = re.compile(
    r"olympus digital camera|sony dsc|(?:konica )?minolta digital camera|dcf 1\.0|exif_jpeg_picture"
    r"|samsung(?: digital camera| camera pictures)?|default|untitled|digital still camera|applemark"
    r"|kodak(?: \w+)* digital(?: still)? camera|maker:.*|creator: gd-jpeg.*|lavc[\d.]+"
    r"|created with (?:the )?(?:gimp|vignette|imagemagick).*|file written by adobe photoshop.*"
    r"|lead technologies inc\.? v.*|intel\(r\) jpeg library.*|handmade software.*|ascii|charset=.*"
    r"|(?:jpeg )?(?:encoder|compressed|optimi[sz]ed) by.*|processed by ebay.*|\*",
    re.IGNORECASE | re.DOTALL,
)
"""What devices and programs put there unasked; nobody looks for a picture by it."""
_Reader = Callable[[bytes], Iterable[Said]]
_BLOCKS: Final[dict[WrittenSource, _Reader]] = {
    WrittenSource.EXIF: exif_words,
    WrittenSource.XMP: xmp_words,
    WrittenSource.IPTC: iptc_words,
}


def written(data: bytes) -> tuple[Written, ...]:
    """The words in the bytes of an image file that decodes, at most MOST and MOST_CHARACTERS.

    Each once per kind and source; raises nothing, whatever the bytes are.
    """
    found: dict[tuple[WrittenKind, WrittenSource, str], Written] = {}
    counts: Counter[tuple[WrittenKind, WrittenSource]] = Counter()
    characters = 0
    for source, kind, raw in _everything(data):
        said = _tidy(source, kind, raw)
        if said is None or (kind, source, said.text) in found:
            continue
        if kind is WrittenKind.KEYWORD and counts[kind, source] >= MOST_KEYWORDS:
            continue
        characters += len(said.text)
        if len(found) >= MOST or characters > MOST_CHARACTERS:
            break
        counts[kind, source] += 1
        found[kind, source, said.text] = said
    return tuple(found.values())


def _everything(data: bytes) -> Iterator[tuple[WrittenSource, WrittenKind, str]]:
    blocks = blocks_of(data)
    for source, read in _BLOCKS.items():
        block = getattr(blocks, source.value)
        for kind, text in read(block) if block else ():
            yield source, kind, text
    for kind, text in blocks.png:
        yield WrittenSource.PNG, kind, text
    for text in blocks.jpeg:
        yield WrittenSource.JPEG, WrittenKind.COMMENT, text


def _tidy(source: WrittenSource, kind: WrittenKind, raw: str) -> Written | None:
    """None for what is empty, no text, a machine's, or no time."""
    raw = raw[: 2 * MAX_WRITTEN]
    if kind is WrittenKind.TAKEN:
        return _taken(source, raw)
    if kind is WrittenKind.KEYWORD:
        text = tidy_line(raw, MAX_LABEL)
    else:
        text = tidy_lines(raw, MAX_WRITTEN)
    if not any(map(str.isalnum, text)) or _is_noise(raw) or _MACHINE.fullmatch(text):
        return None
    return Written(kind=kind, source=source, text=text)


def _is_noise(raw: str) -> bool:
    """Whether more than a tenth of it are no characters: bytes of another kind, read as text."""
    odd = sum(1 for c in raw if c == "\N{REPLACEMENT CHARACTER}" or (c < " " and not c.isspace()))
    return odd * 10 > len(raw)


def _taken(source: WrittenSource, raw: str) -> Written | None:
    """A time of the form YYYY:MM:DD HH:MM[:SS], with its offset from UTC if it has one.

    Without, the clock of the camera is taken for UTC: which zone it showed is not known.
    """
    match = _TIME.fullmatch(raw.strip(" \0"))
    if match is None or int(match[1]) < _OLDEST:
        return None
    try:
        local = datetime(*(int(part or 0) for part in match.groups()[:6]))  # type: ignore[arg-type]
        zone = _zone(match[7])
        moment = local.replace(tzinfo=zone or UTC)
        seconds = (moment - _EPOCH).total_seconds()
    except (ValueError, OverflowError):
        return None
    text = local.isoformat() if zone is None else moment.isoformat()
    return Written(kind=WrittenKind.TAKEN, source=source, text=text, taken_at=seconds)


def _zone(offset: str | None) -> timezone | None:
    """Raises ValueError for an offset of a day or more."""
    if offset is None:
        return None
    if offset == "Z":
        return UTC
    minutes = 60 * int(offset[1:3]) + int(offset[4:6])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
