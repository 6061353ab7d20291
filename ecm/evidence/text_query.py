"""The question to the text index, without any query language. Knows no index."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextQuery:
    """Words of which any may match, phrases, what is to be absent, and edits a word may need.

    Every entry is plain text: whoever searches splits it into words as the index does.
    """

    words: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    fuzziness: int = 0
