"""The text that stands for an image in the meaning space mv, built from what was said about it.

Pure: statements in, one string out. Knows no model and no store. A change of the text needs a new
MEANING_VERSION, which enters the fingerprint of every mv transform.

What enters was chosen on labelled photos by nDCG of text queries. One text must be near the class,
its synonyms and its more general words at once, and every word added moves it away from the others:
hence only labels that can compete with the surest, all their synonyms, and the first three general
words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ecm.contracts.result import LabelStatement, TextStatement

MEANING_VERSION = "meaning-2"

# A label competes when it is at least this share of the surest one's confidence.
COMPETES = 0.3
MAX_LABELS = 24
MIN_HYPERNYM = 0.3
MAX_HYPERNYMS = 3
# The embedder reads about 200 words; recognised text beyond this would crowd out the rest.
MAX_OCR_CHARS = 400
_HYPERNYMS = "wordnet-hypernym"


def meaning_text(
    caption: TextStatement | None,
    tags: Sequence[LabelStatement],
    classification: Sequence[LabelStatement],
    ocr: Sequence[TextStatement],
) -> str:
    """One line for the text embedder; empty when nothing was said.

    A caption that was composed from the tags adds nothing to them and is left out. Statements
    without a confidence count as sure. Tags that are hypernyms (schemes `wordnet-hypernym…`) are
    used in the order given.

    >>> sure = LabelStatement(label="tabby", confidence=0.8, scheme="imagenet-1k")
    >>> unsure = LabelStatement(label="lynx", confidence=0.1, scheme="imagenet-1k")
    >>> kind = LabelStatement(label="cat", confidence=0.95, scheme="wordnet-hypernym")
    >>> meaning_text(None, (sure, unsure, kind), (sure,), ())
    'a photo of tabby, cat'
    """
    parts = []
    if caption is not None and not caption.composed:
        parts.append(caption.text)
    labels = _labels(tags, classification)
    if labels:
        parts.append("a photo of " + ", ".join(labels))
    return with_read(_joined(parts), [line.text for line in ocr])


def with_read(said: str, read: Iterable[str]) -> str:
    """The text of an image of which `said` is the text without the lines read in it, with these.

    >>> with_read("a photo of a shop", ["OPEN", "9-17"])
    'a photo of a shop. OPEN 9-17'
    """
    return _joined([said, " ".join(read)[:MAX_OCR_CHARS]])


def _joined(parts: Iterable[str]) -> str:
    return ". ".join(part.strip() for part in parts if part.strip())


def _labels(
    tags: Sequence[LabelStatement], classification: Sequence[LabelStatement]
) -> tuple[str, ...]:
    direct = [s for s in tags if not s.scheme.startswith(_HYPERNYMS)] or list(classification)
    surest = max((_confidence(s) for s in direct), default=0.0)
    competing = [s.label for s in direct if _confidence(s) >= COMPETES * surest]
    general = [s.label for s in tags if s.scheme == _HYPERNYMS and _confidence(s) >= MIN_HYPERNYM]
    return _distinct([*competing[:MAX_LABELS], *general[:MAX_HYPERNYMS]])


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _confidence(statement: LabelStatement) -> float:
    return 1.0 if statement.confidence is None else statement.confidence
