"""Words of short texts in one form, so that singular and plural meet.

A small rule that explains a match of the text index and counts words; it makes no match there.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from ecm.search.words import FUNCTION

_TOKEN: Final = re.compile(r"[^\W_]+")
_REMEMBERED: Final = 1 << 16
_LABEL: Final = 80
"""Characters; what is longer is a caption, which hardly ever comes again."""


def stems(text: str) -> frozenset[str]:
    """The telling words of a text, casefolded, without plural endings; words of grammar left out.

    >>> sorted(stems("Domestic dogs and a DOG"))
    ['dog', 'domestic']
    """
    return frozenset(stems_in_order(text))


def stems_in_order(text: str) -> tuple[str, ...]:
    """The same, each once, as they come."""
    words = _TOKEN.findall(text.casefold())
    return tuple(dict.fromkeys(_stem(word) for word in words if word not in FUNCTION))


def label_stems(label: str) -> frozenset[str]:
    """`stems` of a label or caption; the same few labels are asked for with every query."""
    return _label_stems(label) if len(label) <= _LABEL else stems(label)


@functools.lru_cache(maxsize=_REMEMBERED)
def _label_stems(label: str) -> frozenset[str]:
    return stems(label)


def _stem(word: str) -> str:
    for ending, kept in (("ies", "y"), ("sses", "ss"), ("es", "e"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith("ss"):
            return word[: -len(ending)] + kept
    return word
