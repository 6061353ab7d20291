"""How a product's search API is asked and read, as values of a YAML file.

A small typed language, no code: a text that is nothing but `$name` stands for a value; where the
query has none, its entry is left out, and in a list the whole item with it. Paths lead by keys and
places. Knows JSON and names; sends nothing.

    body: {search: $text, top: $limit, vectorQueries: [{kind: vector, vector: $mv, fields: mv}]}
    hits: [value]        id: [asset_id]        score: ["@search.score"]

>>> body = {"q": "$text", "near": [{"vector": "$mv", "k": "$limit"}], "top": "$limit"}
>>> filled(body, {"text": "a dog", "limit": 5, "mv": None})
{'q': 'a dog', 'top': 5}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import quote

from pydantic import Field, JsonValue, StringConstraints, model_validator

from ecm.contracts.identity import Contract
from ecm.contracts.measured import EngineProblem
from ecm.evaluation.engines.base import EngineTrouble
from ecm.evaluation.engines.vectors import VectorField

Path = Annotated[tuple[str | int, ...], Field(max_length=8)]
UrlPath = Annotated[str, StringConstraints(pattern=r"^/[^?#\s]*$", max_length=512)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]

PLACEHOLDERS: Final = frozenset(
    {"text", "limit", "offset", "candidates", *(field.value for field in VectorField)}
)
_WHOLE: Final = re.compile(r"^\$([a-z_]+)$")
_IN_PATH: Final = re.compile(r"\{([a-z_]+)\}")
_ABSENT: Final = object()


class ResponsePaths(Contract):
    """Where an answer has its hits, and a hit its id and score; `message`: what an error says.

    `more`: what is there where a page was cut short, so that another one is asked for.
    """

    hits: Path
    id: Path
    score: Path
    why: Path | None = None
    more: Path | None = None
    message: Path = ()


class RequestMapping(Contract):
    """What is sent. `{name}` in a path is one of the file's `names`, as one part of the path.

    `count_path`, if there is one, is asked once (GET) for how many assets there are: digits alone.
    """

    path: UrlPath
    count_path: UrlPath | None = None
    params: dict[str, str] = Field(default_factory=dict)
    body: dict[str, JsonValue]
    page: int = Field(ge=1, le=10_000, description="results of one request; more by $offset")

    @model_validator(mode="after")
    def _asks_for_pages(self) -> RequestMapping:
        used = placeholders(self.body)
        unknown = used - PLACEHOLDERS
        if unknown:
            raise ValueError(f"${sorted(unknown)[0]} is none of {', '.join(sorted(PLACEHOLDERS))}")
        if "limit" not in used:
            raise ValueError("the body must say $limit: how many results are wanted")
        return self


def placeholders(template: JsonValue) -> set[str]:
    """Names of the values that a template wants."""
    match template:
        case str():
            found = _WHOLE.match(template)
            return {found[1]} if found else set()
        case dict():
            return set[str]().union(*map(placeholders, template.values()))
        case list():
            return set[str]().union(*map(placeholders, template))
        case _:
            return set()


def names_in_path(path: str) -> tuple[str, ...]:
    """The `{names}` of a path."""
    return tuple(_IN_PATH.findall(path))


def path_of(template: str, names: Mapping[str, str]) -> str:
    """The path with its names, each as one part whatever is in it.

    >>> path_of("/indexes('{index}')/docs", {"index": "a/b"})
    "/indexes('a%2Fb')/docs"
    """
    return _IN_PATH.sub(lambda found: quote(names[found[1]], safe=""), template)


def filled(template: Mapping[str, JsonValue], values: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request. Values that are None or not given are left out as told above."""
    made = {name: _filled(one, values) for name, one in template.items()}
    return {name: one for name, one in made.items() if one is not _ABSENT}


def _filled(template: JsonValue, values: Mapping[str, Any]) -> Any:
    match template:
        case str():
            found = _WHOLE.match(template)
            if found is None:
                return template
            value = values.get(found[1])
            return _ABSENT if value is None else value
        case dict():
            return filled(template, values)
        case list():
            kept = [_item(one, values) for one in template]
            kept = [one for one in kept if one is not _ABSENT]
            return kept or _ABSENT
        case _:
            return template


def _item(template: JsonValue, values: Mapping[str, Any]) -> Any:
    made = _filled(template, values)
    if isinstance(template, dict) and isinstance(made, dict) and len(made) < len(template):
        return _ABSENT
    return made


def has(answer: Any, path: Sequence[str | int]) -> bool:
    """Whether a path leads somewhere."""
    try:
        at(answer, path)
    except EngineTrouble:
        return False
    return True


def at(answer: Any, path: Sequence[str | int]) -> Any:
    """What lies at a path. Raises EngineTrouble `garbled` where it leads nowhere.

    >>> at({"value": [{"@search.score": 1.5}]}, ("value", 0, "@search.score"))
    1.5
    """
    found = answer
    for step in path:
        is_there = (
            step in found
            if isinstance(found, dict)
            else isinstance(found, list) and isinstance(step, int) and 0 <= step < len(found)
        )
        if not is_there:
            raise EngineTrouble(
                f"the answer has no {'.'.join(map(str, path))}", EngineProblem.GARBLED
            )
        found = found[step]
    return found
