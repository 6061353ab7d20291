"""What an examination of a store finds, as values that go from one process to another. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ecm.evidence.seals import Seal


class DamageKind(StrEnum):
    """What is wrong; from `checksum` on with single rows."""

    MANIFEST = "manifest"
    INDEX = "index"
    MISSING = "missing_file"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"
    ALTERED = "altered"
    FEWER_ROWS = "fewer_rows"
    DEADLY = "deadly"
    CHECKSUM = "checksum"
    VECTOR = "vector"
    KEY = "key"
    TEXT = "text"
    CONFIDENCE = "confidence"
    VALUE = "value"
    DOUBLE = "double"


@dataclass(frozen=True, slots=True)
class Damage:
    """One finding. `rows` are those concerned, of `keys` different keys as far as can be told;
    `file` is a name inside the store.
    """

    table: str
    kind: DamageKind
    detail: str
    fragment: int | None = None
    file: str | None = None
    rows: int = 0
    keys: int = 0
    example: str = ""


@dataclass(frozen=True, slots=True)
class FragmentRef:
    """A fragment of one version of a table: its files, their sizes in bytes as far as the manifest
    says (else 0), their seals as far as they have any, and the rows it should have.
    """

    table: str
    version: int
    fragment: int
    files: tuple[str, ...]
    sizes: tuple[int, ...]
    seals: tuple[Seal | None, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class IndexRef:
    """An index of a table: its name, its files, and how many bytes they should be in all."""

    table: str
    name: str
    files: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class HeadOf:
    """The question what the newest version of a table is, without looking at some versions."""

    table: str
    passing_over: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class TableHead:
    """A table in the newest version that can be read, which is not `newest` if that is damaged.

    `version` is None when none can be read; `rows` are all it should have.
    """

    table: str
    newest: int
    version: int | None
    fragments: tuple[FragmentRef, ...] = ()
    indices: tuple[IndexRef, ...] = ()
    seals: Mapping[str, Seal] = field(default_factory=dict)
    damages: tuple[Damage, ...] = ()

    @property
    def rows(self) -> int:
        return sum(ref.rows for ref in self.fragments)


@dataclass(frozen=True, slots=True)
class IndexExam:
    """What was found in the files of an index."""

    ref: IndexRef
    damages: tuple[Damage, ...] = ()
    seals: Mapping[str, Seal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FragmentExam:
    """What was found in a fragment. A `lost` one has no row that can be trusted, of a torn one
    only the rows in the stretches of `legible` can be read (first row and number of rows each).

    `keys` and `ids` are those of its sound rows, 16 bytes each; `spoilt` are keys of bad rows.
    """

    ref: FragmentRef
    lost: bool
    damages: tuple[Damage, ...] = ()
    keys: bytes = b""
    ids: bytes = b""
    spoilt: frozenset[str] = frozenset()
    legible: tuple[tuple[int, int], ...] | None = None
    seals: Mapping[str, Seal] = field(default_factory=dict)

    @property
    def illegible_rows(self) -> int:
        """Rows of a torn fragment that cannot be read."""
        if self.legible is None:
            return 0
        return self.ref.rows - sum(number for _, number in self.legible)


@dataclass(frozen=True, slots=True)
class RowsOf:
    """The question which assets a snapshot's version of a generation has rows of."""

    table: str
    version: int


@dataclass(frozen=True, slots=True)
class KeysOf:
    """The question which keys in a fragment belong to some row ids (16 bytes each)."""

    ref: FragmentRef
    ids: bytes
