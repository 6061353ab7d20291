"""From the options of `ecm search` to a request, with errors that name the option.

Knows how conditions are said in short: `A|B` is either, a repeated option is each. Reads the files
that are named. Knows no engine and prints nothing.
"""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from ecm.contracts.filters import Condition, Filter
from ecm.contracts.search import MAX_IMAGE_BYTES, SearchRequest
from ecm.errors import QueryError
from jobs.edge import printable
from jobs.search_options import Many, SearchOptions

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MAX_FILTER_BYTES: Final = 1 << 20
_MAX_MESSAGE: Final = 300
_MAX_NAME: Final = 200
_STEPS: Final = frozenset({"condition", "group"})
_CONDITION: Final[TypeAdapter[Condition]] = TypeAdapter(Condition)


def request_of(options: SearchOptions, tenant_id: str) -> SearchRequest:
    """The request that the options ask for, of a tenant.

    Raises QueryError, in one line: `query.image` and `query.filter` for files that cannot be read,
    `query.invalid` for values that mean nothing.
    """
    wanted: dict[str, Any] = {
        "tenant_id": tenant_id,
        "text": options.text,
        "filter": filter_of(options),
        "facets": tuple(options.facet or ()),
        "sort": options.sort,
        "limit": options.limit,
        "cursor": options.cursor,
        "axes": tuple(options.axes) if options.axes else None,
        "require": tuple(options.require or ()),
        "rerank": options.rerank,
        "min_relevance": _relevance(options.min_relevance),
        "timeout_ms": options.timeout,
        "explain": not options.no_explain,
        "profile": options.timings,
    }
    try:
        return SearchRequest.model_validate(wanted | _shown(options))
    except ValidationError as error:
        raise QueryError(told(error), "query.invalid") from error


def filter_of(options: SearchOptions) -> Filter | None:
    """What all options together leave; None: they leave everything. Raises as `request_of`."""
    must, must_not = list(_conditions(options)), []
    if options.without_tag:
        values = [v for said in options.without_tag for v in _either(said)]
        must_not.append(_condition("--without-tag", {"field": "tags", "any": values}))
    for what in options.lacks or ():
        must_not.append(_condition("--lacks", {"field": "has", "value": what.replace("-", "_")}))
    whole = _written(options.filter) if options.filter is not None else None
    if whole is not None and not must and not must_not:
        return whole
    nodes = (*must, whole) if whole is not None else must
    if not nodes and not must_not:
        return None
    try:
        return Filter(must=tuple(nodes), must_not=tuple(must_not))
    except ValidationError as error:
        raise QueryError(f"the filter options: {told(error)}", "query.invalid") from error


def told(error: ValidationError) -> str:
    """What is wrong first, in one line: where, and what."""
    first = error.errors(include_url=False, include_input=False)[0]
    steps = [str(step) for step in first["loc"] if step not in _STEPS]
    message = str(first["msg"]).removeprefix("Value error, ")
    line = f"{'.'.join(steps)}: {message}" if steps else message
    return printable(line if len(line) <= _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]}…")


def _conditions(options: SearchOptions) -> Iterator[Condition]:
    """All conditions that must hold."""
    each = (
        ("--tag", "tags", options.tag),
        ("--class", "classes", options.classes),
        ("--colour", "colours", options.colour),
    )
    for option, field, said in each:
        for one in said or ():
            yield _condition(option, {"field": field, "any": _either(one)})
    some = (
        ("--format", "format", options.format),
        ("--orientation", "orientation", options.orientation),
        ("--run", "run", options.run),
    )
    for option, field, said in some:
        if said:
            values = [value for one in said for value in _either(one)]
            yield _condition(option, {"field": field, "any": values})
    for prefix in options.path or ():
        yield _condition("--path", {"field": "path", "prefix": _place(prefix)})
    for what in options.has or ():
        yield _condition("--has", {"field": "has", "value": what.replace("-", "_")})
    yield from _bounds(options)


def _bounds(options: SearchOptions) -> Iterator[Condition]:
    for field in ("width", "height", "pixels", "bytes", "confidence"):
        for side, bound in (("min", "gte"), ("max", "lte")):
            value = getattr(options, f"{side}_{field}", None)
            if value is not None:
                yield _condition(f"--{side}-{field}", {"field": field, bound: value})
    for field in ("taken", "modified", "added"):
        for side, bound in (("after", "gte"), ("before", "lt")):
            value = getattr(options, f"{field}_{side}")
            if value is not None:
                yield _condition(f"--{field}-{side}", {"field": field, bound: value})


def _condition(option: str, said: dict[str, Any]) -> Condition:
    try:
        return _CONDITION.validate_python(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = str(first["msg"]).removeprefix("Value error, ")
        raise QueryError(printable(f"{option}: {message}"), "query.invalid") from error


def _either(said: str) -> list[str]:
    return [value.strip() for value in said.split("|")]


def _place(prefix: str) -> str:
    """A URI or an absolute path as it is; of another path the folder it is from here."""
    if not prefix or "://" in prefix or prefix.startswith("/"):
        return prefix
    whole = str(Path(prefix).expanduser().absolute())
    return f"{whole}/" if prefix.endswith("/") else whole


def _written(said: str) -> Filter:
    """A filter as JSON, from a file or stdin where it starts with @. Raises QueryError."""
    try:
        if said == "@-":
            raw = sys.stdin.buffer.read(_MAX_FILTER_BYTES + 1)
        elif said.startswith("@"):
            with Path(said[1:]).open("rb") as file:
                raw = file.read(_MAX_FILTER_BYTES + 1)
        else:
            raw = said.encode("utf-8", "surrogateescape")
    except OSError as error:
        name = printable(said[1:])[:_MAX_NAME]
        raise QueryError(f"cannot read {name}: {error.strerror}", "query.filter") from error
    if len(raw) > _MAX_FILTER_BYTES:
        raise QueryError(f"--filter: more than {_MAX_FILTER_BYTES} bytes", "query.filter")
    try:
        return Filter.model_validate_json(raw)
    except ValidationError as error:
        raise QueryError(f"--filter: {told(error)}", "query.invalid") from error


def _relevance(said: str | None) -> str | float | None:
    if said is None or said == "auto":
        return said
    try:
        return float(said)
    except ValueError:
        what = printable(said[:_MAX_NAME])
        raise QueryError(
            f"--min-relevance: {what} is neither auto nor a number from 0 to 1", "query.invalid"
        ) from None


def _shown(options: SearchOptions) -> dict[str, Any]:
    """What is shown: one picture alone as the request's own, others as examples with weights."""
    shown: dict[str, Any] = {}
    if options.image is not None:
        shown["image"] = _read(options.image)
    like, unlike = _weighted("--like", options.like), _weighted("--unlike", options.unlike)
    if options.image is None and len(like) == 1 and like[0][1] == 1.0 and not unlike:
        return like[0][0]
    examples = (*like, *((what, -weight) for what, weight in unlike))
    return shown | {"examples": tuple(what | {"weight": weight} for what, weight in examples)}


def _weighted(option: str, said: Many) -> list[tuple[dict[str, Any], float]]:
    return [_example(option, one) for one in said or ()]


def _example(option: str, said: str) -> tuple[dict[str, Any], float]:
    """An asset or a file, and its weight: what comes after the last `=` if that is a number."""
    what, sign, written = said.rpartition("=")
    weight = _weight(written) if sign and not _is_file(said) else None
    if weight is None:
        what, weight = said, 1.0
    if not 0 < weight <= 1:
        raise QueryError(f"{option}: a weight is above 0 and at most 1", "query.invalid")
    if _DIGEST.fullmatch(what):
        return {"asset_id": what}, weight
    return {"image": _read(Path(what))}, weight


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # too long for a name: reading it will say so
        return False


def _weight(written: str) -> float | None:
    try:
        return float(written)
    except ValueError:
        return None


def _read(path: Path) -> bytes:
    """An image file in base64. Raises QueryError when it cannot be read or is too large."""
    name = printable(str(path))[:_MAX_NAME]
    try:
        with path.open("rb") as file:
            data = file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise QueryError(f"cannot read {name}: {error.strerror}", "query.image") from error
    except ValueError as error:
        raise QueryError(f"cannot read {name}: {error}", "query.image") from error
    if len(data) > MAX_IMAGE_BYTES:
        raise QueryError(f"{name} has more than {MAX_IMAGE_BYTES} bytes", "query.image")
    return b64encode(data)
