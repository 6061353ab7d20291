"""What one request needs: its question, what is to be encoded, where its page starts, until when.

Knows which example or text speaks on which axis; knows no model, no index and no weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecm.contracts.search import Axis, Example, SearchRequest
from ecm.errors import QueryError
from ecm.search.cursor import Cursor
from ecm.search.encoders import EncodingRequest
from ecm.search.query import Question, read_question

VECTOR_AXES = (Axis.VV, Axis.X, Axis.MV)
AXES_SHARE = 0.75
"""Of the time of a request; the rest is for ranking and showing."""


@dataclass(frozen=True)
class Shown:
    """An example and how much it counts; `encoding` is the place of its image, if it is one."""

    example: Example
    encoding: int | None


@dataclass(frozen=True)
class Plan:
    """A request that has been read.

    `encodings` are to be encoded in this order: the wanted words at `wanted`, what is not wanted
    from `unwanted` on, images where `shown` says. `digest` is that of all its ranking hangs on.
    Times are seconds of the engine's clock.
    `browsing`: nothing is asked for, what passes the filter is listed.
    """

    request: SearchRequest
    question: Question
    encodings: tuple[EncodingRequest, ...]
    wanted: int | None
    unwanted: tuple[int, ...]
    shown: tuple[Shown, ...]
    cursor: Cursor | None
    digest: str
    started: float
    deadline: float

    @property
    def axes_until(self) -> float:
        """Until when axes are waited for, so that time is left to rank what others found."""
        return self.started + (self.deadline - self.started) * AXES_SHARE

    @property
    def by_example(self) -> bool:
        """Whether an image or an asset says what is wanted on vv and x."""
        return any(one.example.weight > 0 for one in self.shown)

    @property
    def browsing(self) -> bool:
        return not self.question.axes

    @property
    def excluded(self) -> frozenset[str]:
        """Assets that are examples are no answers."""
        ids = (one.example.asset_id for one in self.shown)
        return frozenset(asset_id for asset_id in ids if asset_id is not None)


def planned(
    request: SearchRequest,
    digest: str,
    cursor: Cursor | None,
    started: float,
    ceiling_ms: float,
) -> Plan:
    """The plan of a request that has this `query_digest`.

    Raises QueryError when it asks nothing that an axis could answer.
    """
    question = read_question(request)
    _check(request, question)
    encodings: list[EncodingRequest] = []

    def place(axes: frozenset[Axis], text: str | None, image: bytes | None) -> int:
        encodings.append(EncodingRequest(axes, text, image))
        return len(encodings) - 1

    asked = frozenset(question.axes) & frozenset(VECTOR_AXES)
    positive = any(example.weight > 0 for example in request.shown())
    by_words = asked & {Axis.MV} if positive else asked
    wanted = place(by_words, question.wanted, None) if question.wanted and by_words else None
    speaks = asked & ({Axis.VV, Axis.X} if question.wanted else frozenset(VECTOR_AXES))
    shown = tuple(
        Shown(
            example,
            place(speaks, None, example.image) if example.image is not None and speaks else None,
        )
        for example in request.shown()
    )
    compared = asked & {Axis.VV, Axis.MV}
    unwanted = tuple(place(compared, text, None) for text in question.unwanted if compared)
    limit_ms = min(ceiling_ms, request.timeout_ms or ceiling_ms)
    return Plan(
        request=request,
        question=question,
        encodings=tuple(encodings),
        wanted=wanted,
        unwanted=unwanted,
        shown=shown,
        cursor=cursor,
        digest=digest,
        started=started,
        deadline=started + limit_ms / 1000.0,
    )


def _check(request: SearchRequest, question: Question) -> None:
    positive = any(example.weight > 0 for example in request.shown())
    words = bool(question.wanted or (question.text and question.text.phrases))
    asks = bool(request.text and request.text.strip()) or bool(request.shown())
    if asks and not words and not positive:
        raise QueryError(
            "the query says only what is not wanted",
            "query.empty",
            "say what is wanted, or give that as a filter",
        )
    unfit = [axis.value for axis in request.require if axis not in question.axes]
    if unfit or (asks and not question.axes):
        named = ", ".join(unfit) or "the axes asked for"
        raise QueryError(
            f"this query gives nothing to compare on {named}",
            "query.axes",
            "images speak to vv, x and mv; texts to vv, mv and fts, on x of colour and layout",
        )
