"""The question to the text index, and its words as the index counts them. Knows no table."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import lance

from ecm.errors import ContractError
from ecm.evidence.generation import FTS_OPTIONS

MAX_TERMS: Final = 64
"""Words of a question that are looked for; the others are not."""
MAX_FUZZINESS: Final = 2
FUZZY_SHARE: Final = 0.5
"""What a word counts that is only like the one asked for; the word itself counts this on top."""

_TERM: Final = re.compile(r"[^\W_]+")
_TOKENIZER: Final = {name: value for name, value in FTS_OPTIONS.items() if name != "with_position"}


@dataclass(frozen=True)
class TextQuery:
    """Words of which any may match, phrases, what is to be absent, and edits a word may need.

    Every entry is plain text: whoever searches splits it into words as the index does. A phrase
    must stand in one column, word after word, and its words count like the others. `without` is
    what an asset must not say: a word, or several words after each other. `fuzziness` is how many
    letters may be put in, left out or changed, 0 to 2; of short words fewer.

    Raises ContractError for another fuzziness.
    """

    words: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    fuzziness: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.fuzziness <= MAX_FUZZINESS:
            raise ContractError(f"fuzziness is 0 to {MAX_FUZZINESS}, not {self.fuzziness}")

    @classmethod
    def of(cls, text: TextQuery | str) -> TextQuery:
        """Plain text as a question for its words."""
        return text if isinstance(text, TextQuery) else cls((text,))


@dataclass(frozen=True, slots=True)
class Term:
    """A word as it was written (lower case), and the stem that the index knows it by."""

    written: str
    stem: str

    def edits(self, fuzziness: int) -> int:
        """Edits that this word may need: none up to 2 letters of the stem, one up to 5."""
        letters = len(self.stem)
        return min(fuzziness, 0 if letters <= 2 else 1 if letters <= 5 else MAX_FUZZINESS)


def terms_of(texts: Iterable[str]) -> tuple[Term, ...]:
    """The words of plain texts in order, each stem once, without stop words; MAX_TERMS at most.

    Quotes, operators and other signs only part words. The stems are those of the tokenizer of the
    index itself (Snowball English).
    """
    found: dict[str, Term] = {}
    for text in texts:
        for word in words_of(text):
            for token in lance.tokenize(word, **_TOKENIZER):
                found.setdefault(token.text, Term(word, token.text))
            if len(found) >= MAX_TERMS:
                return tuple(found.values())[:MAX_TERMS]
    return tuple(found.values())


def words_of(text: str) -> list[str]:
    """The words of plain text in order, lower case, stop words among them."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return _TERM.findall(plain)


def phrase_of(text: str) -> str:
    """A phrase as the index is asked for it, empty when it has none but stop words."""
    words = words_of(text)[:MAX_TERMS]
    return " ".join(words) if terms_of(words) else ""
