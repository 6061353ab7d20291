"""What the words of a query ask for, and what is to be absent: quotes, minus signs, "without".

Knows the shape of queries; knows no model, no index and nothing of layout.

    "exact words"        a phrase; also “…”, «…», „…“
    -word  -"a phrase"   unwanted
    without X, no X, not X, but not X, except X, excluding X, isn't X
                         unwanted, up to punctuation or the next clause; "and" and "or" go on with
                         another unwanted thing
    IMG_2041.jpg         a file name

Signs are no negations ("no parking", "do not enter"), nor is a cue with nothing after it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ecm.search.words import CAMERA_NAME, FILE_NAME, FUNCTION, WORD, word_set

MAX_UNWANTED: Final = 8
"""Unwanted things that are heeded; each costs a vector and a search."""

_MOST_WORDS: Final = 5
"""Words of one unwanted thing, at most."""
_SYMBOL: Final = r"[^\w\s\x00-\x7f\u2010-\u203f\u3000-\u303f\uff00-\uff0f\uff1a-\uff1f«»]"
_TOKEN: Final = re.compile(
    r"(?:(?<!\S)(?P<minus>[-−](?=[^\W\d_]|[\"“«„])))?"
    r"(?:\"(?P<q1>[^\"]*)\"|“(?P<q2>[^“”]*)”|«(?P<q3>[^«»]*)»|„(?P<q4>[^„“”]*)[“”]"
    rf"|(?P<word>[^\W_](?:[^\s\"“”„«»,;!?()]*\w)?|{_SYMBOL}+)|(?P<mark>\S))"
)
_CUES: Final = word_set(
    "without no not except excluding isn't aren't wasn't doesn't hasn't haven't"
)
_SIGNS: Final = word_set(
    "entry exit parking stopping standing smoking trespassing swimming fishing diving hunting "
    "cycling dumping littering photography vacancy vacancies thoroughfare turn turns way one "
    "longer doubt matter only just"
)
"""After "no" or "not" these belong to a sign or an idiom."""
_DETERMINERS: Final = word_set(
    "a an the any some of for his her their its there being having have has had show shows "
    "showing contain contains containing including"
)
_STOPS: Final = word_set(
    "with but on in at near to from by while that which who whose where when under over behind "
    "beside next against onto into during around inside outside above below is are was were"
)
_JOINS: Final = frozenset(("and", "or", "nor"))
_NEW_CLAUSE: Final = word_set("a an the with one two some his her their its")
_LEFT_BEHIND: Final = FUNCTION | {"does", "do", "did"}
_NOWHERE: Final = word_set(
    "it them all sight view background foreground picture photo image frame scene shot"
)
"""In "no people in the picture" the place goes with the people."""
_LONE_MARKS: Final = re.compile(r"\s*([,;])(?:\s*[,;])+|\s+([,;])")


@dataclass(frozen=True)
class Said:
    """A query in parts; all texts as they were written.

    `wanted` is the query without what is unwanted and without quotation marks; `words` are its
    words with phrases and names among them.
    """

    wanted: str
    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    end: int
    kind: str
    minus: bool

    @property
    def low(self) -> str:
        """What it is compared by: "" for what is no plain word."""
        return self.text.lower().replace("’", "'") if self.is_word() else ""

    def is_word(self) -> bool:
        return self.kind == "word" and not self.minus


def read_words(text: str) -> Said:
    """The parts of a query; of any text, never an error.

    >>> said = read_words('dog on a beach without people or cars -leash "golden hour"')
    >>> said.wanted, said.phrases, said.unwanted
    ('dog on a beach golden hour', ('golden hour',), ('people', 'cars', 'leash'))
    """
    tokens = _tokens(text)
    dropped: set[int] = set()
    unwanted: list[str] = []
    here = 0
    while here < len(tokens):
        token = tokens[here]
        if token.minus:
            unwanted.append(token.text)
            dropped.add(here)
            here += 1
        elif token.low in _CUES and not _is_idiom(tokens, here):
            here = _negated(text, tokens, here, unwanted, dropped)
        else:
            here += 1
    kept = [token for place, token in enumerate(tokens) if place not in dropped]
    phrases = [token.text for token in kept if token.kind == "quoted"]
    plain = not dropped and not phrases
    wanted = text.strip() if plain else _joined(text, tokens, dropped)
    return Said(
        wanted=wanted,
        words=_unique(WORD.findall(wanted)),
        phrases=_unique(phrases),
        unwanted=_unique(unwanted)[:MAX_UNWANTED],
        names=_names(wanted),
    )


def _tokens(text: str) -> list[_Token]:
    """Words, quoted phrases and single marks, with their places in the text."""
    found = []
    for match in _TOKEN.finditer(text):
        quoted = next((q for q in match.group("q1", "q2", "q3", "q4") if q is not None), None)
        said = match["word"] or match["mark"] or " ".join((quoted or "").split())
        kind = "word" if match["word"] else "quoted" if quoted is not None and said else "mark"
        minus = match["minus"] is not None and kind != "mark"
        found.append(_Token(said, match.start(), match.end(), kind, minus))
    return found


def _is_idiom(tokens: list[_Token], here: int) -> bool:
    """Whether the cue at `here` is a word like others: of a sign, a number, a set phrase."""
    after = tokens[here + 1] if here + 1 < len(tokens) else None
    if after is None or after.kind == "mark" or after.minus:
        return True
    before = tokens[here - 1].low if here else ""
    if tokens[here].low not in ("no", "not"):
        return before == "or"
    sign = after.is_word() and (after.low in _SIGNS or after.low[0].isdigit())
    rule = here + 2 < len(tokens) and tokens[here + 2].low == "allowed"
    return sign or rule or before in ("do", "yes", "or")


def _negated(
    text: str, tokens: list[_Token], cue: int, unwanted: list[str], dropped: set[int]
) -> int:
    """Read what is unwanted after the cue; where to read on. Takes what led to the cue with it."""
    here = cue + 1
    while here < len(tokens) and _leads(tokens[here], tokens[cue]):
        here += 1
    read_to = cue + 1
    while True:
        end = _end_of_thing(tokens, here)
        if end == here:
            break
        unwanted.append(_written(text, tokens[here:end]))
        read_to = end
        if not _goes_on(tokens, end):
            break
        here = end + 1
        while here < len(tokens) and tokens[here].low in _DETERMINERS:
            here += 1
    if read_to == cue + 1:
        return read_to
    read_to = _past_nowhere(tokens, read_to)
    dropped.update(range(cue, read_to))
    back = cue - 1
    while back >= 0 and back not in dropped and tokens[back].low in _LEFT_BEHIND:
        dropped.add(back)
        back -= 1
    return read_to


def _leads(token: _Token, cue: _Token) -> bool:
    """Whether a word between the cue and the unwanted thing says nothing of the thing."""
    return token.low in _DETERMINERS or (cue.low != "no" and token.low in _STOPS)


def _end_of_thing(tokens: list[_Token], start: int) -> int:
    """Where the unwanted thing that starts at `start` ends: exclusive place of its last token."""
    if start < len(tokens) and tokens[start].kind == "quoted" and not tokens[start].minus:
        return start + 1
    here = start
    while here < len(tokens) and here - start < _MOST_WORDS:
        low = tokens[here].low
        if not low or low in _STOPS or low in _CUES or low in _JOINS:
            break
        here += 1
    return here


def _goes_on(tokens: list[_Token], here: int) -> bool:
    """Whether "or", "nor" or "and" at `here` joins another unwanted thing."""
    if here + 1 >= len(tokens) or tokens[here].low not in _JOINS:
        return False
    after = tokens[here + 1].low
    if not after or after in _CUES or after in _STOPS:
        return tokens[here + 1].kind == "quoted"
    return tokens[here].low != "and" or after not in _NEW_CLAUSE


def _past_nowhere(tokens: list[_Token], here: int) -> int:
    """Past "in the picture", "in it", "at all" after an unwanted thing."""
    there = here + 1
    if here < len(tokens) and tokens[here].low in ("in", "on", "at"):
        if there < len(tokens) and tokens[there].low == "the":
            there += 1
        if there < len(tokens) and tokens[there].low in _NOWHERE:
            return there + 1
    return here


def _written(text: str, tokens: list[_Token]) -> str:
    """The tokens as they stand in the text, on one line; of a phrase what is between the marks."""
    if tokens[0].kind == "quoted":
        return tokens[0].text
    return " ".join(text[tokens[0].start : tokens[-1].end].split())


def _names(text: str) -> tuple[str, ...]:
    """File names, and names as cameras give them that are no part of one."""
    files = FILE_NAME.findall(text)
    rest = FILE_NAME.sub(" ", text)
    return _unique([*files, *CAMERA_NAME.findall(rest)])


def _joined(text: str, tokens: list[_Token], dropped: set[int]) -> str:
    """What is left of the text, without quotation marks, and without marks that join nothing."""
    parts: list[str] = []
    for place, token in enumerate(tokens):
        if place in dropped:
            continue
        together = place > 0 and place - 1 not in dropped and tokens[place - 1].end == token.start
        said = token.text if token.kind == "quoted" else text[token.start : token.end]
        parts.append(said if together else f" {said}")
    line = _LONE_MARKS.sub(r"\1\2", " ".join("".join(parts).split()))
    return line.strip(" ,;:-–—&+/")


def _unique(texts: list[str]) -> tuple[str, ...]:
    """Each text once, whatever its case, in order."""
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(text.casefold(), text)
    return tuple(found.values())
