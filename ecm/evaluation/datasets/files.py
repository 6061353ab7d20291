"""Files that people write: what they know of images, and queries with their answers. JSON lines.

    {"path": "holiday/beach.jpg", "labels": ["beach"], "captions": ["A dog on a beach."]}
    {"qid": "beach-1", "kind": "class", "text": "beach", "relevant": ["holiday/beach.jpg"]}

Whoever writes them may write anything: what is broken, too long or too much is refused with the
name of the file and the number of the line. Other fields of a line are of no concern. Knows no
snapshot.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Generic, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from ecm.contracts.evaluation import MAX_QUERIES, EvaluationQueryId, QueryKind, Relevance
from ecm.contracts.identity import Digest
from ecm.contracts.search import MAX_QUERY_CHARS, QueryType
from ecm.errors import ConfigError

MAX_LINE_BYTES: Final = 1 << 20
MAX_DESCRIBED: Final = 1_000_000
_CODE: Final = "evaluation.input"
_KINDS: Final = {
    "class-synonym": QueryKind.CLASS,
    "hypernym": QueryKind.CLASS,
    "object": QueryKind.CLASS,
    "known-item": QueryKind.KNOWN_ITEM,
    **{kind.value: kind for kind in QueryKind},
}
_UNTYPED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffd]")
_OTHER_SIGN: Final = re.compile(r"[^A-Za-z0-9._:-]")
Place = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Locale = Annotated[str, StringConstraints(min_length=2, max_length=16)]


def _plain_text(value: object) -> object:
    """On one line, without what nobody types: control signs, and those of a lost encoding."""
    if not isinstance(value, str):
        return value
    return " ".join(_UNTYPED.sub(" ", value).split())


Text = Annotated[
    str,
    BeforeValidator(_plain_text),
    StringConstraints(min_length=1, max_length=MAX_QUERY_CHARS),
]


def _plain_id(value: object) -> object:
    """Ids that people write may hold spaces and other signs: each becomes a hyphen."""
    return _OTHER_SIGN.sub("-", value.strip()) if isinstance(value, str) else value


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Described(_Line):
    """What somebody knows of one image: `labels` name what it shows, `captions` describe it.

    It is named by the sha256 of its bytes, by its URI, or by the end of its path.
    """

    path: Place | None = None
    sha256: Digest | None = None
    uri: Place | None = None
    labels: tuple[Text, ...] = Field(default=(), max_length=256)
    captions: tuple[Text, ...] = Field(default=(), max_length=64)
    locale: Locale | None = None

    @model_validator(mode="after")
    def _names_an_image(self) -> Described:
        if self.path is None and self.sha256 is None and self.uri is None:
            raise ValueError("name the image: path, sha256 or uri")
        return self

    @property
    def place(self) -> str:
        """What it is told by, the surest first."""
        return self.sha256 or self.uri or self.path or ""


class Asked(_Line):
    """A query with its answers: paths, URIs or sha256 of images, or how relevant each is.

    `complete`: what is not among them does not answer.
    """

    qid: Annotated[EvaluationQueryId, BeforeValidator(_plain_id)] | None = None
    kind: str = QueryKind.CLASS.value
    text: Text | None = None
    shown: Place | None = None
    relevant: tuple[Place, ...] | dict[Place, Relevance] = Field(min_length=1, max_length=100_000)
    type: QueryType | None = None
    complete: bool = False
    locale: Locale | None = None

    @model_validator(mode="after")
    def _asks(self) -> Asked:
        if self.text is None and self.shown is None:
            raise ValueError("a query has a text or shows an image")
        if self.kind not in _KINDS:
            raise ValueError(f"unknown kind {self.kind[:40]!r}; known: {', '.join(_KINDS)}")
        return self

    @property
    def query_kind(self) -> QueryKind:
        return _KINDS[self.kind]

    def graded(self) -> dict[str, Relevance]:
        """Answers and how relevant each is; 2 where that is not said."""
        if isinstance(self.relevant, dict):
            return dict(self.relevant)
        return dict.fromkeys(self.relevant, 2)


Line = TypeVar("Line", bound=_Line)


@dataclass(frozen=True)
class Written(Generic[Line]):
    """The lines of a file; `digest` is the hex sha256 of its bytes."""

    name: str
    digest: str
    lines: tuple[Line, ...]


def read_described(path: Path) -> Written[Described]:
    """A file of what is known of images. Raises ConfigError naming file and line."""
    return _read(Described, path, MAX_DESCRIBED)


def read_asked(path: Path) -> Written[Asked]:
    """A file of queries with answers, each id once. Raises ConfigError naming file and line."""
    written = _read(Asked, path, MAX_QUERIES)
    seen: set[str] = set()
    for number, line in enumerate(written.lines, start=1):
        if line.qid in seen:
            raise _refused(path, number, f"query id {line.qid} is there already")
        if line.qid is not None:
            seen.add(line.qid)
    return written


def numbered_lines(path: Path, most: int) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, from 1, each at most MAX_LINE_BYTES long, empty ones too.

    Raises ConfigError: no such file, no plain file, a line too long, more than `most` lines.
    """
    if not path.is_file():
        raise ConfigError(f"no file {path}", _CODE, "give a file of JSON lines")
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise _refused(path, number, f"longer than {MAX_LINE_BYTES} bytes")
                if number > most:
                    raise _refused(path, number, f"more than {most} lines")
                yield number, line
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", _CODE) from error


def _read(kind: type[Line], path: Path, most: int) -> Written[Line]:
    lines: list[Line] = []
    seen = hashlib.sha256()
    for number, line in numbered_lines(path, most):
        seen.update(line)
        try:
            lines.append(kind.model_validate_json(line))
        except ValidationError as error:
            raise _refused(path, number, said_of(error)) from error
    return Written(str(path), seen.hexdigest(), tuple(lines))


def said_of(error: ValidationError) -> str:
    """The first thing that is wrong, with the field it is wrong in; one line."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def _refused(path: Path, number: int, why: str) -> ConfigError:
    return ConfigError(f"{path}, line {number}: {why}", _CODE, "correct or remove the line")
