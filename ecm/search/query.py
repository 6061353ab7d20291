"""What a request asks for: the type of question, its axes, and its words taken apart.

Knows words and the shape of requests; knows no model, no index and no weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecm.contracts.search import Axis, QueryType, SearchRequest, Understood
from ecm.evidence.generation import name_words
from ecm.evidence.text_query import TextQuery, phrase_of
from ecm.search.grammar import Said, read_words
from ecm.search.layout import Layout, read_layout
from ecm.search.words import type_chances

MAX_PHRASES = 8
"""Phrases that must stand in an asset; each costs a search per text field. Others are words."""
_FUZZY_LETTERS = 5
"""A single word of so many letters may be misspelt by one."""
_SURE_OF_NAMES = 0.5
_ALL_LOOK, _SURE_OF_LOOK = 0.95, 0.9


@dataclass(frozen=True)
class Question:
    """A request understood.

    `axes` are those that the query calls for, narrowed to what the request allows. `wanted` is what
    is embedded and looked for, "" without such words; `text` is what is searched among the words of
    assets, None where there is no word. `layout` is what the wanted words say of look.
    """

    query_type: QueryType
    confidence: float
    axes: tuple[Axis, ...]
    wanted: str
    text: TextQuery | None
    unwanted: tuple[str, ...]
    names: tuple[str, ...]
    layout: Layout | None

    def understood(self) -> Understood:
        """For the response: what was made of the words."""
        return Understood(
            query_type=self.query_type,
            confidence=self.confidence,
            axes=self.axes,
            wanted=self.wanted,
            phrases=self.text.phrases if self.text is not None else (),
            unwanted=self.unwanted,
            names=self.names,
            layout=self.layout.constraints if self.layout is not None else (),
        )


def read_question(request: SearchRequest) -> Question:
    """The question that a request asks; of any text, never an error.

    Images bring vv, x and mv, texts vv, mv and, where they have a word, fts; texts that speak of
    look bring x. A query that only says what is unwanted has an empty `wanted`, which is for the
    caller to refuse where nothing is shown either.
    """
    said = read_words(request.text or "")
    shown = any(example.weight > 0 for example in request.shown())
    text = _text_query(said)
    layout = read_layout(said.wanted) if said.wanted else None
    words = (Axis.FTS,) if text is not None else ()
    axes: tuple[Axis, ...]
    if shown:
        query_type, confidence = (QueryType.MIXED if said.wanted else QueryType.VISUAL), 1.0
        axes = (Axis.VV, Axis.X, Axis.MV, *words)
    elif said.wanted:
        query_type, confidence = _type_of(said, layout)
        axes = (Axis.VV, *((Axis.X,) if layout is not None else ()), Axis.MV, *words)
    else:
        query_type, confidence, axes = QueryType.SEMANTIC, 0.0, ()
    if request.axes is not None:
        axes = tuple(axis for axis in axes if axis in request.axes)
    return Question(
        query_type, confidence, axes, said.wanted, text, said.unwanted, said.names, layout
    )


def _type_of(said: Said, layout: Layout | None) -> tuple[QueryType, float]:
    """Type and probability.

    A file name asks for that file, whatever words are around it; words of look alone ask for look.
    """
    chances = type_chances(said.wanted, len(said.phrases))
    if said.names:
        return QueryType.KEYWORD, max(chances[QueryType.KEYWORD], _SURE_OF_NAMES)
    if layout is not None and layout.strength >= _ALL_LOOK:
        return QueryType.VISUAL, max(chances[QueryType.VISUAL], _SURE_OF_LOOK)
    kind = max(chances, key=lambda each: chances[each])
    if kind is QueryType.VISUAL and layout is not None:
        # one word that may mean a look or a thing: orange, portrait
        return QueryType.MIXED, chances[kind]
    return kind, chances[kind]


def _text_query(said: Said) -> TextQuery | None:
    """The words for the text index; names also as the words that it keeps of file names.

    One name must be there; of several, which no file has, any may. So must phrases, but for those
    that are nothing the index knows: stop words and marks.
    """
    names = [name_words([name.replace("%", " ")]) for name in said.names]
    words = (*said.words, *(word for name in names for word in name.split()))
    lone_name = [name for name in names if len(names) == 1 and " " in name]
    phrases = [phrase for phrase in said.phrases if phrase_of(phrase)][:MAX_PHRASES] + lone_name
    if not words and not phrases:
        return None
    lone = words[0] if len(words) == 1 and not phrases else ""
    fuzzy = lone.isalpha() and len(lone) >= _FUZZY_LETTERS
    return TextQuery(
        words=tuple(dict.fromkeys(words)),
        phrases=tuple(dict.fromkeys(phrases)),
        without=said.unwanted,
        fuzziness=int(fuzzy),
    )
