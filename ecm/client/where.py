"""Filters in words of Python: conditions by field, and groups of them. No I/O.

    where.every(where.tags("dog", "wolf"), where.neither(where.path("/photos/drafts/")))

Everything here makes values of `ecm.contracts.filters`, whose bounds hold. What they refuse is
raised as QueryError before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import ValidationError

from ecm.contracts.filters import (
    AssetCondition,
    ClassCondition,
    Colour,
    ColourCondition,
    Condition,
    DateCondition,
    Filter,
    FormatCondition,
    Has,
    HasCondition,
    NumberCondition,
    Orientation,
    OrientationCondition,
    PathCondition,
    RunCondition,
    TagCondition,
)
from ecm.contracts.identity import Contract
from ecm.errors import QueryError

Moment = datetime | str
"""A date or time as ISO 8601 writes it; without a zone it is UTC."""
Made = TypeVar("Made", bound=Contract)


def every(*nodes: Condition | Filter) -> Filter:
    """All of these hold."""
    return _made(Filter, must=nodes)


def either(*nodes: Condition | Filter) -> Filter:
    """At least one of these holds."""
    return _made(Filter, should=nodes)


def neither(*nodes: Condition | Filter) -> Filter:
    """None of these holds."""
    return _made(Filter, must_not=nodes)


def tags(*any_of: str, all_of: Iterable[str] = (), min_confidence: float = 0.0) -> TagCondition:
    """One of some tags, each of others; surer than `min_confidence`."""
    return _made(
        TagCondition,
        field="tags",
        any=any_of,
        all=tuple(all_of),
        min_confidence=min_confidence,
    )


def classes(
    *any_of: str, all_of: Iterable[str] = (), min_confidence: float = 0.0
) -> ClassCondition:
    """One of some classes, each of others; surer than `min_confidence`."""
    return _made(
        ClassCondition,
        field="classes",
        any=any_of,
        all=tuple(all_of),
        min_confidence=min_confidence,
    )


def formats(*any_of: str) -> FormatCondition:
    """Image formats, as jpeg, png, webp."""
    return _made(FormatCondition, field="format", any=any_of)


def colours(
    *any_of: Colour | str, all_of: Iterable[Colour | str] = (), min_share: float = 0.15
) -> ColourCondition:
    """Colours that cover at least a share of the picture."""
    return _made(
        ColourCondition, field="colours", any=any_of, all=tuple(all_of), min_share=min_share
    )


def orientation(*any_of: Orientation | str) -> OrientationCondition:
    """Proportions of the picture."""
    return _made(OrientationCondition, field="orientation", any=any_of)


def width(at_least: float | None = None, at_most: float | None = None) -> NumberCondition:
    """Pixels."""
    return _number("width", at_least, at_most)


def height(at_least: float | None = None, at_most: float | None = None) -> NumberCondition:
    """Pixels."""
    return _number("height", at_least, at_most)


def pixels(at_least: float | None = None, at_most: float | None = None) -> NumberCondition:
    """Width times height."""
    return _number("pixels", at_least, at_most)


def size(at_least: float | None = None, at_most: float | None = None) -> NumberCondition:
    """Bytes of the file."""
    return _number("bytes", at_least, at_most)


def confidence(at_least: float | None = None, at_most: float | None = None) -> NumberCondition:
    """Of the surest label."""
    return _number("confidence", at_least, at_most)


def taken(since: Moment | None = None, before: Moment | None = None) -> DateCondition:
    """When the picture was taken, as its file says; `before` itself does not count."""
    return _date("taken", since, before)


def modified(since: Moment | None = None, before: Moment | None = None) -> DateCondition:
    """When the file was changed."""
    return _date("modified", since, before)


def added(since: Moment | None = None, before: Moment | None = None) -> DateCondition:
    """When the asset was first indexed."""
    return _date("added", since, before)


def path(prefix: str) -> PathCondition:
    """The start of a URI (`s3://…`) or of the path of a file."""
    return _made(PathCondition, field="path", prefix=prefix)


def runs(*any_of: str) -> RunCondition:
    """Runs whose evidence the snapshot shows."""
    return _made(RunCondition, field="run", any=any_of)


def has(value: Has | str) -> HasCondition:
    """Something is known of the asset: text, caption, tags, user_text, date."""
    return _made(HasCondition, field="has", value=value)


def assets(*any_of: str) -> AssetCondition:
    """Some assets, by id."""
    return _made(AssetCondition, field="asset", any=any_of)


def _number(
    field: Literal["width", "height", "pixels", "bytes", "confidence"],
    at_least: float | None,
    at_most: float | None,
) -> NumberCondition:
    bounds = {
        name: None if value is None else float(value)
        for name, value in (("gte", at_least), ("lte", at_most))
    }
    return _made(NumberCondition, field=field, **bounds)


def _date(
    field: Literal["taken", "modified", "added"], since: Moment | None, before: Moment | None
) -> DateCondition:
    return _made(DateCondition, field=field, gte=since, lt=before)


def made(kind: type[Made], said: Mapping[str, object]) -> Made:
    """A contract of what was said. Raises QueryError in the words the service would use."""
    try:
        return kind.model_validate(dict(said))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = str(first["msg"]).removeprefix("Value error, ")
        code = "query.empty" if "empty query" in reason else "request.invalid"
        raise QueryError(f"{where}: {reason}" if where else reason, code) from error


def _made(kind: type[Made], **said: object) -> Made:
    return made(kind, said)
