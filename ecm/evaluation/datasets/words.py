"""The words of a text, as far as drawing queries needs them. Knows no query and no index."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_PLURAL: Final = 4
"""Words of at least so many letters lose their plural s."""
_STOP: Final = (
    "a an and any are as at be being by for from has have her his in into is it its kind may near "
    "next of off on one or over out photo picture image show shows showing some that the their "
    "there this to two up very while with"
)
STOP_WORDS: Final = frozenset(_STOP.split())


def normalised(text: str) -> str:
    """A text as far as it matters for being the same: NFKC, casefolded, its words alone.

    >>> normalised("  A  Red-Fox! "), normalised("…")
    ('a red fox', '...')
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_WORD.findall(folded)) or " ".join(folded.split())


def content_words(text: str) -> tuple[str, ...]:
    """Words that say something, each once, in order, without a plural s.

    >>> content_words("Two dogs on the beach, and a dog")
    ('dog', 'beach')
    """
    words = (_singular(word) for word in normalised(text).split() if word not in STOP_WORDS)
    return tuple(dict.fromkeys(words))


def _singular(word: str) -> str:
    if len(word) >= _PLURAL and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
