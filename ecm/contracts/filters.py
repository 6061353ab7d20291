"""The typed tree of conditions that a search can be narrowed with. No I/O, no index, no strings
of any query language: a condition is a field, and values of that field's type.

    {"must": [{"field": "tags", "any": ["dog"]}, {"field": "width", "gte": 1000}],
     "must_not": [{"field": "path", "prefix": "file:///photos/drafts/"}]}

`must`: all hold; `should`: at least one does, if there are any; `must_not`: none does. A condition
on something that is not known of an asset does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from ecm.contracts.identity import Contract, Digest

MAX_DEPTH = 5
MAX_CONDITIONS = 64
MAX_NODES = 128
"""Conditions and groups together."""
MAX_VALUES = 256
"""In one list of a condition."""
MAX_ALL_VALUES = 1024

Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]
RunId = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Orientation(StrEnum):
    """Proportions of the upright picture; square: within 5 %, and neither of the other two;
    panorama: a landscape of at least 2 to 1.
    """

    PORTRAIT = "portrait"
    LANDSCAPE = "landscape"
    SQUARE = "square"
    PANORAMA = "panorama"


class Colour(StrEnum):
    """Colour names of the colour filter, and of words that speak of colour."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    CYAN = "cyan"
    BLUE = "blue"
    PURPLE = "purple"
    PINK = "pink"
    BROWN = "brown"
    BLACK = "black"
    GREY = "grey"
    WHITE = "white"


class Has(StrEnum):
    """What an asset may have or lack."""

    TEXT = "text"
    CAPTION = "caption"
    TAGS = "tags"
    USER_TEXT = "user_text"
    DATE = "date"


def _written(value: object) -> object:
    if isinstance(value, str) and not value.strip().lstrip("+-").replace(".", "").isdigit():
        return value
    if isinstance(value, datetime):
        return value
    raise ValueError("give a date or time as ISO 8601 writes it, such as 2024-05-31T12:00:00Z")


Bound = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Moment = Annotated[datetime, BeforeValidator(_written)]
"""Written out: of a number nobody knows whether it is seconds or milliseconds."""


class _Labels(Contract):
    any: tuple[Label, ...] = Field(default=(), max_length=MAX_VALUES, description="one is enough")
    all: tuple[Label, ...] = Field(default=(), max_length=MAX_VALUES, description="each is needed")
    min_confidence: float = Field(default=0.0, ge=0, le=1, description="of a label that counts")

    @model_validator(mode="after")
    def _names_something(self) -> _Labels:
        if not self.any and not self.all:
            raise ValueError("give labels in `any` or `all`")
        return self


class TagCondition(_Labels):
    """Tags of the asset, compared without regard to case."""

    field: Literal["tags"]


class ClassCondition(_Labels):
    """Classes of the asset, compared without regard to case."""

    field: Literal["classes"]


class FormatCondition(Contract):
    """The image format, as decoding found it: jpeg, png, webp, …"""

    field: Literal["format"]
    any: tuple[Label, ...] = Field(min_length=1, max_length=MAX_VALUES)


class ColourCondition(Contract):
    """Colours that cover at least `min_share` of the picture, as its structure vector tells."""

    field: Literal["colours"]
    any: tuple[Colour, ...] = Field(default=(), max_length=len(Colour), description="one is enough")
    all: tuple[Colour, ...] = Field(
        default=(), max_length=len(Colour), description="each is needed"
    )
    min_share: float = Field(default=0.15, gt=0, le=1)

    @model_validator(mode="after")
    def _names_something(self) -> ColourCondition:
        if not self.any and not self.all:
            raise ValueError("give colours in `any` or `all`")
        return self


class OrientationCondition(Contract):
    """The proportions of the picture."""

    field: Literal["orientation"]
    any: tuple[Orientation, ...] = Field(min_length=1, max_length=len(Orientation))


class NumberCondition(Contract):
    """Width and height in pixels, their product, bytes, or the confidence of the surest label."""

    field: Literal["width", "height", "pixels", "bytes", "confidence"]
    gte: Bound | None = None
    lte: Bound | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> NumberCondition:
        if self.gte is None and self.lte is None:
            raise ValueError("give `gte`, `lte` or both")
        return self


class DateCondition(Contract):
    """When a picture was taken, its file changed, or it was first indexed. Times without a zone
    are UTC; `gte` is inclusive, `lt` is not.
    """

    field: Literal["taken", "modified", "added"]
    gte: Moment | None = None
    lt: Moment | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> DateCondition:
        if self.gte is None and self.lt is None:
            raise ValueError("give `gte`, `lt` or both")
        return self


class PathCondition(Contract):
    """Where the asset lies: the start of one of its URIs, or of the path in a file URI.

    A prefix with `://` is a URI, in which `%20` and a space are the same; any other is a path as
    the file system has it. Letters count as they are written.
    """

    field: Literal["path"]
    prefix: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class RunCondition(Contract):
    """Runs whose evidence the snapshot shows of the asset."""

    field: Literal["run"]
    any: tuple[RunId, ...] = Field(min_length=1, max_length=MAX_VALUES)


class HasCondition(Contract):
    """Whether something is known of the asset."""

    field: Literal["has"]
    value: Has


class AssetCondition(Contract):
    """Some assets by name."""

    field: Literal["asset"]
    any: tuple[Digest, ...] = Field(min_length=1, max_length=MAX_VALUES)


Condition = Annotated[
    TagCondition
    | ClassCondition
    | FormatCondition
    | ColourCondition
    | OrientationCondition
    | NumberCondition
    | DateCondition
    | PathCondition
    | RunCondition
    | HasCondition
    | AssetCondition,
    Field(discriminator="field"),
]


FIELDS = tuple(
    name
    for kind in get_args(get_args(Condition)[0])
    for name in get_args(kind.model_fields["field"].annotation)
)
"""What a condition can be about."""


def _groups_in(value: object) -> list[object]:
    """What stands as a group right below one: values as they came in, or groups already made."""
    if isinstance(value, Filter):
        below: list[object] = [value.must, value.should, value.must_not]
    elif isinstance(value, dict):
        below = [value.get(name) for name in ("must", "should", "must_not")]
    else:
        return []
    nodes = [node for nodes in below if isinstance(nodes, list | tuple) for node in nodes]
    return [node for node in nodes if _kind(node) == "group"]


def _kind(value: object) -> str:
    named = "field" in value if isinstance(value, dict) else hasattr(value, "field")
    return "condition" if named else "group"


def _recognised(value: object) -> object:
    """Says what is wrong in words of its own: a value sent by somebody is not to be said back."""
    if isinstance(value, dict):
        if "field" in value and value["field"] not in FIELDS:
            raise ValueError(f"`field` is one of {', '.join(FIELDS)}")
    elif not isinstance(value, Contract):
        raise ValueError("a condition has a `field`, a group `must`, `should` or `must_not`")
    return value


class Filter(Contract):
    """A group of conditions and groups; an empty one holds for every asset."""

    must: tuple[Node, ...] = Field(default=(), max_length=MAX_NODES)
    should: tuple[Node, ...] = Field(default=(), max_length=MAX_NODES)
    must_not: tuple[Node, ...] = Field(default=(), max_length=MAX_NODES)

    @model_validator(mode="before")
    @classmethod
    def _is_shallow(cls, value: object) -> object:
        """Before anything follows it down."""
        level = [value]
        for _ in range(MAX_DEPTH):
            level = [inner for outer in level for inner in _groups_in(outer)]
        if level:
            raise ValueError(f"a filter is at most {MAX_DEPTH} groups deep")
        return value

    @model_validator(mode="after")
    def _is_bounded(self) -> Filter:
        size = self.size()
        if size.conditions > MAX_CONDITIONS:
            raise ValueError(f"a filter has at most {MAX_CONDITIONS} conditions")
        if size.groups + size.conditions > MAX_NODES:
            raise ValueError(f"a filter has at most {MAX_NODES} conditions and groups together")
        if size.values > MAX_ALL_VALUES:
            raise ValueError(f"the conditions of a filter have at most {MAX_ALL_VALUES} values")
        return self

    def nodes(self) -> tuple[Node, ...]:
        """All conditions and groups of this group, in order."""
        return (*self.must, *self.should, *self.must_not)

    def size(self) -> FilterSize:
        """What is in this group and those below."""
        size = FilterSize(groups=1)
        for node in self.nodes():
            size += node.size() if isinstance(node, Filter) else _size_of(node)
        return size


@dataclass(frozen=True)
class FilterSize:
    """How much there is to look at: groups, conditions, and the values in their lists."""

    groups: int = 0
    conditions: int = 0
    values: int = 0

    def __add__(self, other: FilterSize) -> FilterSize:
        return FilterSize(
            self.groups + other.groups,
            self.conditions + other.conditions,
            self.values + other.values,
        )


def _size_of(condition: Condition) -> FilterSize:
    lists = [getattr(condition, name, ()) for name in ("any", "all")]
    return FilterSize(conditions=1, values=sum(map(len, lists)))


Node = Annotated[
    Annotated[Condition, Tag("condition")] | Annotated[Filter, Tag("group")],
    Discriminator(_kind),
    BeforeValidator(_recognised),
]
Filter.model_rebuild()
