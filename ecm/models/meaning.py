"""The text that stands for an image in the meaning space mv, built from what was said about it.

Pure: statements in, one string out. Knows no model and no store. A change of the text needs a new
MEANING_VERSION, which enters the fingerprint of every mv transform.
"""

from __future__ import annotations

from collections.abc import Sequence

from ecm.contracts.result import LabelStatement, TextStatement

MEANING_VERSION = "meaning-1"


def meaning_text(
    caption: TextStatement | None,
    tags: Sequence[LabelStatement],
    classification: Sequence[LabelStatement],
    ocr: Sequence[TextStatement],
) -> str:
    """One line for the text embedder; empty when nothing was said."""
    labels = list(dict.fromkeys(s.label for s in (*classification, *tags)))
    parts = [caption.text] if caption is not None else []
    if labels:
        parts.append(", ".join(labels[:12]))
    parts.extend(line.text for line in ocr)
    return ". ".join(part.strip() for part in parts if part.strip())
