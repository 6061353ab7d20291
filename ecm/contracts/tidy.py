"""What texts of models and readers are brought to before they are stored. No I/O, no clock.

What cannot be meant is taken out, what can be is kept:

- lone surrogates become U+FFFD: no encoding holds them;
- control characters go (Cc but for white space): they move cursors and end strings;
- invisible format characters go (Cf): marks and overrides of direction, with which a text shows
  other than it reads (CVE-2021-42574), zero-width spaces, soft hyphens and byte order marks, which
  split words for a search, and tag characters, which carry text that nobody sees. The joiners
  U+200C and U+200D stay between characters, where Persian, Indic scripts and emoji need them, and
  so do the visible number signs of Arabic and Syriac;
- noncharacters go;
- what is left is composed (NFC), so that equal texts are equal bytes;
- runs of white space of any kind become one space, or one line break where lines are kept;
- a text is cut at its limit.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_TEXT: Final = 20_000
MAX_LABEL: Final = 200

_JOINERS: Final = "\u200c\u200d"
_KEPT: Final = frozenset(
    _JOINERS
    + "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
_LOOSE: Final = re.compile(rf"(?<!\S)[{_JOINERS}]+|[{_JOINERS}]+(?!\S)")
_END: Final = re.compile(rf"[\s{_JOINERS}]+\Z")
_SPACE: Final = re.compile(r"\s+")
_BREAK: Final = re.compile(r"[^\S\n]*\n\s*")
_INLINE: Final = re.compile(r"[^\S\n]+")
_BREAKS: Final = str.maketrans(dict.fromkeys("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", "\n"))


def tidy_line(text: str, limit: int) -> str:
    r"""`text` on one line and of at most `limit` characters; empty when nothing is left.

    >>> tidy_line("  a\tdog\u202e \u200b\nand cafe\u0301 ", 200)
    'a dog and café'
    """
    if text.isascii() and text.isprintable():  # nothing but letters, signs and spaces: most texts
        whole = text if "  " not in text else _SPACE.sub(" ", text)
        return _cut(whole.strip(" "), limit)
    return _cut(_SPACE.sub(" ", _composed(text)).strip(), limit)


def tidy_lines(text: str, limit: int) -> str:
    r"""As `tidy_line`, but lines stay lines; empty ones go.

    >>> tidy_lines("EXIT \r\n\r\n  only", 200)
    'EXIT\nonly'
    """
    whole = _composed(text.replace("\r\n", "\n").translate(_BREAKS))
    return _cut(_INLINE.sub(" ", _BREAK.sub("\n", whole)).strip(), limit)


def _composed(text: str) -> str:
    kept = "".join(_meant(character) for character in text)
    return unicodedata.normalize("NFC", _LOOSE.sub("", kept))


def _meant(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    if category == "Cc":
        return character if character.isspace() else ""
    if category == "Cf":
        return character if character in _KEPT else ""
    code = ord(character)
    return "" if code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF else character


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else _END.sub("", text[:limit])
