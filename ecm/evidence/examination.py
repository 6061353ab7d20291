"""A whole store examined: every table, what is damaged in it, and which keys it soundly holds.

Asks examiners for one piece after the other and sums up; memory is 16 bytes a row of the largest
table and 16 bytes a key of each. Changes nothing but the seals of files found sound. Knows no
ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.evidence.damage import (
    Damage,
    DamageKind,
    FragmentExam,
    FragmentRef,
    HeadOf,
    KeysOf,
    TableHead,
)
from ecm.evidence.examiners import Asked, Died
from ecm.evidence.known import packed
from ecm.evidence.schema import ASSET_VERSIONS, ASSETS, is_evidence_table
from ecm.evidence.seals import Seal, add_seals
from ecm.evidence.store import EvidenceStore
from ecm.evidence.table_heads import known_tables, manifests_of

_HEADS_TRIED: Final = 8
"""Versions of one table that may end their readers before the table is given up."""

Progress = Callable[[str, int, int], None]
"""Told the table under examination, rows read so far and rows of the whole store."""


@dataclass(slots=True)
class TableExam:
    """One table: its head, the fragments that are lost or torn, and the keys of the sound rows.

    `keys` are sorted and unique, 16 bytes each, without those that are `spoilt`; `rows` were read.
    """

    head: TableHead
    damages: list[Damage] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    torn: dict[int, FragmentExam] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)
    keys: npt.NDArray[np.bytes_] = field(default_factory=lambda: packed(()))
    rows: int = 0

    @property
    def name(self) -> str:
        return self.head.table

    @property
    def lost_rows(self) -> int:
        """Rows that cannot be read; those of versions that cannot be read are not known."""
        whole = sum(ref.rows for ref in self.head.fragments if ref.fragment in self.lost)
        return whole + sum(exam.illegible_rows for exam in self.torn.values())

    @property
    def broken_indices(self) -> frozenset[str]:
        return frozenset(d.example for d in self.damages if d.kind is DamageKind.INDEX)

    @property
    def lacks_rows(self) -> bool:
        """Whether rows that the table should have are lost or have to be deleted."""
        wrong = self.lost or self.torn or self.spoilt
        return bool(wrong) or self.head.version != self.head.newest

    def holds(self, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
        """For each key whether a sound row has it, shape (len(keys),)."""
        asked = packed(keys)
        if not len(self.keys):
            return np.zeros(len(asked), dtype=np.bool_)
        places = np.searchsorted(self.keys, asked)
        places[places == len(self.keys)] = 0
        found: npt.NDArray[np.bool_] = self.keys[places] == asked
        return found


@dataclass(frozen=True, slots=True)
class Examination:
    """Every table of a store by name."""

    tables: Mapping[str, TableExam]

    @property
    def damages(self) -> tuple[Damage, ...]:
        return tuple(d for table in self.tables.values() for d in table.damages)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())


def examine(store: EvidenceStore, examiners: Asked, progress: Progress) -> Examination:
    """Read every row of every table.

    Raises StoreUnavailable and ConfigError when the store as a whole cannot be read, StoreCorrupt
    (code `store.version`) when another release wrote it.
    """
    there = known_tables(store)
    tables = [TableExam(_head(examiners, store, table)) for table in there]
    if any(map(is_evidence_table, there)):
        tables += [
            TableExam(_absent(table)) for table in (ASSETS, ASSET_VERSIONS) if table not in there
        ]
    of = sum(table.head.rows for table in tables)
    done = 0
    for table in tables:
        table.damages += table.head.damages
        seals = {**table.head.seals, **_indices(examiners, table)}
        keys: list[npt.NDArray[np.bytes_]] = []
        ids: list[npt.NDArray[np.bytes_]] = []
        for exam in _fragments(examiners, table.head.fragments):
            seals |= exam.seals
            keys.append(np.frombuffer(exam.keys, dtype="S16"))
            ids.append(np.frombuffer(exam.ids, dtype="S16"))
            _take(table, exam)
            done += exam.ref.rows
            progress(table.name, done, of)
        _find_doubles(examiners, table, ids)
        table.keys = _sound_keys(keys, table.spoilt)
        present = {file for ref in table.head.fragments for file in ref.files} | seals.keys()
        add_seals(store, table.name, {} if table.lacks_rows else seals, present)
    return Examination({table.name: table for table in tables})


def _absent(table: str) -> TableHead:
    """A table that every store has in which anything is said."""
    damage = Damage(table, DamageKind.MISSING, "the table is not there")
    return TableHead(table, 1, None, damages=(damage,))


def _head(examiners: Asked, store: EvidenceStore, table: str) -> TableHead:
    """The head, passing over versions that end their reader."""
    passed: frozenset[int] = frozenset()
    died = Died("")
    for _ in range(_HEADS_TRIED):
        answer = next(examiners.ask([HeadOf(table, passed)]))
        if not isinstance(answer, Died):
            head: TableHead = answer
            return head
        died = answer
        passed |= {next((v for v in manifests_of(store, table) if v not in passed), 0)}
    detail = f"its manifest cannot be read: {died.how}"
    return TableHead(table, 0, None, damages=(Damage(table, DamageKind.DEADLY, detail),))


def _indices(examiners: Asked, table: TableExam) -> dict[str, Seal]:
    seals: dict[str, Seal] = {}
    refs = table.head.indices
    for ref, answer in zip(refs, examiners.ask(refs), strict=True):
        if isinstance(answer, Died):
            kind, file = DamageKind.INDEX, ref.files[0]
            table.damages.append(Damage(table.name, kind, answer.how, file=file, example=ref.name))
            continue
        table.damages += answer.damages
        seals |= answer.seals
    return seals


def _fragments(examiners: Asked, refs: Sequence[FragmentRef]) -> Iterator[FragmentExam]:
    for ref, answer in zip(refs, examiners.ask(refs), strict=True):
        if isinstance(answer, Died):
            file = ref.files[0] if ref.files else None
            kind, rows = DamageKind.DEADLY, ref.rows
            damage = Damage(ref.table, kind, answer.how, ref.fragment, file, rows)
            yield FragmentExam(ref, lost=True, damages=(damage,))
        else:
            yield answer


def _take(table: TableExam, exam: FragmentExam) -> None:
    table.damages += exam.damages
    table.spoilt |= exam.spoilt
    table.rows += 0 if exam.lost else exam.ref.rows - exam.illegible_rows
    if exam.legible is not None:
        table.torn[exam.ref.fragment] = replace(exam, keys=b"", ids=b"")
    if exam.lost:
        table.lost.add(exam.ref.fragment)


def _find_doubles(
    examiners: Asked, table: TableExam, parts: Sequence[npt.NDArray[np.bytes_]]
) -> None:
    ids = np.sort(np.concatenate(parts)) if parts else packed(())
    twice = ids[1:][ids[1:] == ids[:-1]]
    if not len(twice):
        return
    wanted = np.unique(twice).tobytes()
    sound = [
        ref
        for ref in table.head.fragments
        if ref.fragment not in table.lost and ref.fragment not in table.torn
    ]
    keys: set[str] = set()
    for answer in examiners.ask([KeysOf(ref, wanted) for ref in sound]):
        keys.update(() if isinstance(answer, Died) else answer)
    table.spoilt |= keys
    table.damages.append(
        Damage(
            table.name,
            DamageKind.DOUBLE,
            "rows are there more than once",
            rows=len(twice),
            keys=len(keys),
            example=min(keys, default=""),
        )
    )


def _sound_keys(
    parts: Sequence[npt.NDArray[np.bytes_]], spoilt: Collection[str]
) -> npt.NDArray[np.bytes_]:
    """Spoilt keys are not held, whatever sound rows they have beside."""
    keys = np.unique(np.concatenate(parts)) if parts else packed(())
    return np.setdiff1d(keys, packed([key for key in spoilt if _is_hex(key)]))


def _is_hex(key: str) -> bool:
    return len(key) >= 32 and not set(key[:32]) - set("0123456789abcdef")
