"""The answer a captioner is asked for, as a JSON Schema, and what may be made of one that came.

Strings are bounded by patterns: bounds of length alone let control characters into guided answers
(xgrammar 0.2). Any text is an input: what comes back is a verdict, never an error. Knows no engine.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from pydantic import Field

from ecm.contracts.identity import Contract, canonical_json
from ecm.contracts.result import LabelStatement, TextStatement
from ecm.contracts.tidy import MAX_LABEL, MAX_TEXT, tidy_line

TAG_SCHEME: Final = "vlm"
IMAGE_TYPES: Final = (
    "photo", "drawing", "painting", "render", "screenshot", "document", "diagram", "map",
    "collage", "other",
)  # fmt: skip
COLOURS: Final = (
    "black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink",
    "brown", "beige",
)  # fmt: skip

_REFUSAL: Final = re.compile(
    r"^\W*(i(?:['’]m| am) (?:very |so )?(?:sorry|unable|not able)|sorry\W+(?:but )?i\b"
    r"|i apologi[sz]e|i (?:can(?:no|['’])t|won['’]t|will not)\b|as an ai\b|unable to\b)",
    re.IGNORECASE,
)
_PART: Final = re.compile(r'"(caption|tags|classification|visible_text)"\s*:\s*')
_WORD: Final = re.compile(r"\w+")
_LEAST_WORDS: Final = 8
_MOST_OF_ONE: Final = 0.5
_MOST_OF_PAIRS: Final = 0.4
_LEAST_CHARACTERS: Final = 24
_LEAST_NEW: Final = 0.3


class Verdict(StrEnum):
    """What is wrong with an answer, if anything."""

    USABLE = "usable"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    INVALID = "invalid"
    REPEATING = "repeating"
    REFUSAL = "refusal"


class AnswerLimits(Contract):
    """How much may be said; characters of one caption, tag or line, and how many tags and lines."""

    caption_chars: int = Field(default=300, ge=8, le=2000)
    tags: int = Field(default=12, ge=1, le=64)
    word_chars: int = Field(default=40, ge=4, le=100)
    lines: int = Field(default=8, ge=0, le=64)
    line_chars: int = Field(default=120, ge=4, le=500)


@dataclass(frozen=True)
class Said:
    """What an answer states; empty where it states nothing."""

    caption: str = ""
    tags: tuple[str, ...] = ()
    classification: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()

    def labels(self) -> tuple[LabelStatement, ...]:
        """The classes, each under the scheme of its question, such as `scene`."""
        return tuple(LabelStatement(label=c, scheme=scheme) for scheme, c in self.classification)

    def tag_statements(self) -> tuple[LabelStatement, ...]:
        return tuple(LabelStatement(label=tag, scheme=TAG_SCHEME) for tag in self.tags)

    def line_statements(self) -> tuple[TextStatement, ...]:
        return tuple(TextStatement(text=line) for line in self.lines)


@dataclass(frozen=True)
class Reading:
    """The verdict on an answer, and what it says all the same."""

    verdict: Verdict
    said: Said


def answer_schema(limits: AnswerLimits) -> str:
    """The JSON Schema of an answer, as canonical JSON."""
    word = _string(limits.word_chars)
    classes = {
        "image_type": {"type": "string", "enum": list(IMAGE_TYPES)},
        "scene": word,
        "style": word,
        "colours": _list({"type": "string", "enum": list(COLOURS)}, 1, 4),
    }
    parts = {
        "caption": _string(limits.caption_chars),
        "tags": _list(word, 1, limits.tags),
        "classification": _object(classes),
        "visible_text": _list(_string(limits.line_chars), 0, limits.lines),
    }
    return canonical_json(_object(parts)).decode()


def read_answer(text: str, finish_reason: str, limits: AnswerLimits) -> Reading:
    """What an answer of the engine is worth. `finish_reason` "length": it was cut off."""
    raw = _parsed(text)
    if raw is None:
        verdict = Verdict.EMPTY if not text.strip() else Verdict.INVALID
        if _REFUSAL.match(text):
            verdict = Verdict.REFUSAL
        elif finish_reason == "length" and text.strip():
            verdict = Verdict.TRUNCATED
        return Reading(verdict, _said(_whole_parts(text), limits))
    said = _said(raw, limits)
    return Reading(_verdict(said, raw), said)


def repeats(text: str) -> bool:
    """Whether a text goes round in circles: one word or one pair of words makes up most of it, or
    the whole or its second half says nothing new, which shows in scripts without spaces, too.

    >>> repeats("a cat " * 6), repeats("一只猫在桌子上" * 6)
    (True, True)
    >>> repeats("a small brown dog runs across a wide green field")
    False
    """
    folded = " ".join(text.lower().split())
    if _circles(folded) or _circles(folded[len(folded) // 2 :]):
        return True
    words = _WORD.findall(folded)
    if len(words) < _LEAST_WORDS:
        return False
    pairs = Counter(pairwise(words))
    most = Counter(words).most_common(1)[0][1] / len(words)
    most_of_pairs = pairs.most_common(1)[0][1] / (len(words) - 1)
    return most > _MOST_OF_ONE or most_of_pairs >= _MOST_OF_PAIRS


def _circles(text: str) -> bool:
    """Whether few of the runs of three characters in it are different ones."""
    if len(text) < _LEAST_CHARACTERS:
        return False
    runs = [text[start : start + 3] for start in range(len(text) - 2)]
    return len(set(runs)) / len(runs) < _LEAST_NEW


def is_refusal(text: str) -> bool:
    """Whether a caption declines to describe."""
    return _REFUSAL.match(text) is not None


def _verdict(said: Said, raw: dict[str, Any]) -> Verdict:
    if not isinstance(raw.get("caption"), str):
        return Verdict.INVALID
    if not said.caption:
        return Verdict.EMPTY
    if is_refusal(said.caption):
        return Verdict.REFUSAL
    if repeats(said.caption):
        return Verdict.REPEATING
    return Verdict.USABLE


def _parsed(text: str) -> dict[str, Any] | None:
    """The object that a text is. Control characters in strings are borne: they are tidied later."""
    try:
        raw = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) else None


def _said(raw: dict[str, Any], limits: AnswerLimits) -> Said:
    classes = raw.get("classification")
    return Said(
        caption=_line(raw.get("caption"), min(limits.caption_chars, MAX_TEXT)),
        tags=_lines(raw.get("tags"), limits.tags, min(limits.word_chars, MAX_LABEL)),
        classification=tuple(_classes(classes if isinstance(classes, dict) else {}, limits)),
        lines=_lines(raw.get("visible_text"), limits.lines, limits.line_chars),
    )


def _classes(raw: dict[str, Any], limits: AnswerLimits) -> Iterable[tuple[str, str]]:
    """What is to be chosen from a list and is not on it was not chosen."""
    kind = _line(raw.get("image_type"), MAX_LABEL).lower()
    if kind in IMAGE_TYPES:
        yield "image_type", kind
    for scheme in ("scene", "style"):
        if label := _line(raw.get(scheme), limits.word_chars).lower():
            yield scheme, label
    for colour in _lines(raw.get("colours"), 4, MAX_LABEL):
        if colour.lower() in COLOURS:
            yield "colour", colour.lower()


def _line(raw: object, limit: int) -> str:
    return tidy_line(raw, limit) if isinstance(raw, str) else ""


def _lines(raw: object, most: int, limit: int) -> tuple[str, ...]:
    """Distinct texts of a list in their order, whatever else may be in it."""
    texts = [_line(text, limit) for text in raw] if isinstance(raw, list) else []
    seen: dict[str, str] = {}
    for text in texts:
        if text:
            seen.setdefault(text.lower(), text)
    return tuple(seen.values())[:most]


def _whole_parts(text: str) -> dict[str, Any]:
    """The parts of an answer that is no whole object, each if it is complete itself."""
    decoder, found = json.JSONDecoder(strict=False), {}
    for part in _PART.finditer(text):
        with suppress(ValueError, RecursionError):
            found[part[1]] = decoder.raw_decode(text, part.end())[0]
    return found


def _string(most: int) -> dict[str, Any]:
    # JSON as it is written: no quote, no backslash, no control character.
    return {"type": "string", "pattern": r'^[^"\\\x00-\x1f\x7f]' + f"{{1,{most}}}$"}


def _list(items: dict[str, Any], least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _object(parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(parts),
        "properties": parts,
    }
