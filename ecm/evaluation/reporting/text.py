"""Words and numbers of a report: texts of users and models made harmless, numbers that read alike.

Queries, reasons and captions come from people and models. In a report they are words and nothing
else: no Markdown, no HTML, no link, no control character, and not too long. Knows Markdown tables;
knows no measure.
"""

from __future__ import annotations

import math
import re
import time
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

MINUS: Final = "\N{MINUS SIGN}"
SPACE: Final = "\N{NO-BREAK SPACE}"
"""Between a number and its unit."""
NONE: Final = "\N{EN DASH}"
"""What a cell without a number holds."""
MAX_QUERY: Final = 120
MAX_REASON: Final = 400

_SPECIAL: Final = re.compile(r"[\\`*_{}\[\]<>|~&!#$^=@]")
_LINK: Final = re.compile(r"(?i)(?<=[a-z])(:)(?=//)|(?<=\bwww)(\.)")
_JOINERS: Final = {"\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"}


def plain(text: str, most: int) -> str:
    r"""`text` on one line of at most `most` characters, without control or direction characters.

    >>> plain("a\nb\tc\x1b[31m", 99)
    'a b c\ufffd[31m'
    >>> plain("0123456789", 6)
    '01234…'
    """
    kept = "".join(_shown(char) for char in " ".join(text.split()))
    return kept if len(kept) <= most else kept[: most - 1].rstrip() + "…"


def words(text: str, most: int = MAX_REASON) -> str:
    r"""`text` as words of a Markdown paragraph or table cell: nothing in it is markup.

    >>> words("<b>|x|</b> [a](http://b) **c**")
    '\\<b\\>\\|x\\|\\</b\\> \\[a\\](http\\://b) \\*\\*c\\*\\*'
    """
    safe = _SPECIAL.sub(r"\\\g<0>", plain(text, most))
    return _LINK.sub(r"\\\g<0>", safe)


def code(text: str, most: int = 128) -> str:
    """A name as code, in a paragraph or a table cell.

    >>> code("a|b")
    '`a/b`'
    """
    return f"`{plain(text, most).replace('`', chr(39)).replace('|', '/') or ' '}`"


def number(value: float | None, digits: int = 4) -> str:
    """A measure or a share, or NONE.

    >>> number(0.71234), number(None), number(-0.00001)
    ('0.7123', '–', '0.0000')
    """
    if value is None or not math.isfinite(value):
        return NONE
    said = f"{value:.{digits}f}"
    return said.lstrip("-") if float(said) == 0 else said.replace("-", MINUS)


def chance(value: float | None) -> str:
    """A p value; one that would read as none at all is bounded.

    >>> chance(0.0123), chance(1e-9), chance(None)
    ('0.0123', '<0.0001', '–')
    """
    return "<0.0001" if value is not None and value < 0.00005 else number(value)


def signed(value: float | None, digits: int = 4) -> str:
    """A change, with its sign.

    >>> signed(0.0123), signed(-0.5, 1), signed(0.0)
    ('+0.0123', '−0.5', '0.0000')
    """
    said = number(value, digits)
    return f"+{said}" if value is not None and value > 0 and said.strip("0.") else said


def ranged(said: str, lower: str | None, upper: str | None) -> str:
    """A figure with its interval in brackets, in which the unit is not said again.

    >>> ranged(points(0.02), points(0.01), points(0.03)).replace(SPACE, " ")
    '+2.00 pp [+1.00, +3.00]'
    >>> ranged("0.5", None, None)
    '0.5'
    """
    if lower is None or upper is None:
        return said
    low, high = (one.partition(SPACE)[0] for one in (lower, upper))
    return f"{said} [{low},{SPACE}{high}]"


def points(value: float | None) -> str:
    """A change of a measure or a rate in [0, 1], in percentage points of two decimals.

    >>> points(-0.0312).replace(SPACE, " ")
    '−3.12 pp'
    """
    return NONE if value is None else f"{signed(value * 100, 2)}{SPACE}pp"


def percent(value: float | None, digits: int = 1) -> str:
    """A share of [0, 1].

    >>> percent(0.0123).replace(SPACE, " "), percent(None)
    ('1.2 %', '–')
    """
    return NONE if value is None else f"{number(value * 100, digits)}{SPACE}%"


def milliseconds(value: float | None) -> str:
    """A latency, to three digits or the whole millisecond.

    >>> milliseconds(3.14159), milliseconds(1234.5), milliseconds(None)
    ('3.14', '1,234', '–')
    """
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else number(value, 1 if value >= 10 else 2)


def dollars(value: float | None) -> str:
    """A price in US dollars, of four decimals where it is small.

    >>> dollars(0.0), dollars(0.0125), dollars(12.5)
    ('0', '0.0125', '12.50')
    """
    if not value:
        return "0" if value is not None else NONE
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def day(at: float) -> str:
    """The day (UTC) of a moment in Unix seconds."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def moment(at: float) -> str:
    """A moment in Unix seconds, for people, UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun.

    >>> counted(1, "query", "queries"), counted(1200, "query", "queries")
    ('1 query', '1,200 queries')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    found = list(names)
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; columns after the first `left` are aligned to the right."""
    marks = [":--" if place < left else "--:" for place in range(len(columns))]
    lines = [columns, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _shown(char: str) -> str:
    """A character a page may show; U+FFFD for one that steers terminals or turns the text."""
    kind = unicodedata.category(char)
    if kind == "Cf" and char not in _JOINERS:
        return ""
    return "\N{REPLACEMENT CHARACTER}" if kind in {"Cc", "Cs", "Co", "Zl", "Zp"} else char
