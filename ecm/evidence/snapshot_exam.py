"""Every snapshot of a store examined: its reference, its files byte for byte, its rows.

A snapshot that is damaged is a finding; the next is looked at. What is published is a finding too
when it names no sound snapshot. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ecm.errors import SnapshotNotFound, StoreCorrupt
from ecm.evidence.codec import asset_key
from ecm.evidence.damage import RowsOf
from ecm.evidence.examination import TableExam
from ecm.evidence.examiners import Asked, Died
from ecm.evidence.faults import lance_errors
from ecm.evidence.known import packed
from ecm.evidence.refs import (
    PUBLISHED_NAME,
    SNAPSHOTS,
    SnapshotRef,
    has_ref,
    is_snapshot_id,
    read_published,
    read_ref,
)
from ecm.evidence.snapshot_files import SnapshotFile, check_file, read_files
from ecm.evidence.store import EvidenceStore

Told = Callable[[str], None]
"""Told the file or snapshot that is about to be read."""


@dataclass(frozen=True, slots=True)
class SnapshotExam:
    """A snapshot, or `published.json`, and what is wrong with it; `ref` is None if illegible.

    `unfounded` are rows of assets that the store has no row of: they are to be derived again.
    """

    snapshot_id: str
    published: bool
    ref: SnapshotRef | None
    problems: tuple[str, ...] = ()
    unfounded: int = 0


def examine_snapshots(
    store: EvidenceStore, assets: TableExam | None, examiners: Asked, told: Told
) -> tuple[SnapshotExam, ...]:
    """Look at every snapshot; `assets` is the sound table of assets, if there is one.

    One that is collected meanwhile is no finding: its reference goes before anything of it does.
    Raises StoreUnavailable and ConfigError when the store as a whole cannot be read.
    """
    current, complaint = _published(store)
    names = [
        name
        for name in store.storage.children(SNAPSHOTS)
        if is_snapshot_id(name) and has_ref(store, name)
    ]
    checked: dict[SnapshotFile, str | None] = {}
    exams = [_files(store, name, name == current, checked, told) for name in names]
    sound = [exam.ref for exam in exams if exam.ref is not None and not exam.problems]
    looked = dict(_rows(examiners, sound, assets))
    exams = [replace(exam, **looked.get(exam.snapshot_id, {})) for exam in exams]
    exams = [exam for exam in exams if not exam.problems or has_ref(store, exam.snapshot_id)]
    if complaint is None and current is not None and current not in names:
        complaint = f"the published snapshot {current} is not there"
    if complaint is not None:
        exams.append(SnapshotExam(PUBLISHED_NAME, True, None, (complaint,)))
    return tuple(exams)


def _published(store: EvidenceStore) -> tuple[str | None, str | None]:
    """The id of what is published, and what is wrong with the document that says so."""
    try:
        document = read_published(store)
    except StoreCorrupt as error:
        return None, error.message
    return (None if document is None else document.current.snapshot_id), None


def _files(
    store: EvidenceStore,
    name: str,
    published: bool,
    checked: dict[SnapshotFile, str | None],
    told: Told,
) -> SnapshotExam:
    """The reference and the files; those that several snapshots share are read once."""
    try:
        ref = read_ref(store, name)
    except (StoreCorrupt, SnapshotNotFound) as error:
        if error.code == "store.version":
            raise
        return SnapshotExam(name, published, None, (error.message,))
    try:
        listed = read_files(store, ref)
    except StoreCorrupt as error:
        return SnapshotExam(name, published, ref, (error.message,))
    problems = []
    for file in listed.files if listed else ():
        if file not in checked:
            told(file.name)
            checked[file] = _file_problem(store, file)
        problem = checked[file]
        if problem:
            problems.append(problem)
    return SnapshotExam(name, published, ref, tuple(problems))


def _file_problem(store: EvidenceStore, file: SnapshotFile) -> str | None:
    try:
        check_file(store, file)
    except StoreCorrupt as error:
        store.check_there()
        return error.message
    return None


def _rows(
    examiners: Asked, refs: list[SnapshotRef], assets: TableExam | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the rows say about snapshots, by id: too few or too many, or unfounded ones."""
    answers = examiners.ask([RowsOf(ref.table, ref.version) for ref in refs])
    for ref, answer in zip(refs, answers, strict=True):
        if isinstance(answer, Died):
            yield ref.snapshot_id, {"problems": (answer.how,)}
        elif isinstance(answer, str):
            yield ref.snapshot_id, {"problems": (answer,)}
        else:
            keys = np.frombuffer(answer, dtype="S16")
            if len(keys) != ref.assets:
                line = f"{len(keys):,} rows instead of {ref.assets:,}"
                yield ref.snapshot_id, {"problems": (line,)}
            elif assets is not None:
                strange = int((~np.isin(keys, assets.keys)).sum())
                yield ref.snapshot_id, {"unfounded": strange}


def rows_of(store: EvidenceStore, asked: RowsOf) -> bytes | str:
    """The asset keys of a snapshot's rows, 16 bytes each; or why they cannot be read."""
    what = f"cannot read {asked.table}"
    try:
        dataset = store.open_lance(asked.table, asked.version)
        parts = []
        with lance_errors(what):
            for batch in dataset.to_batches(columns=["tenant_id", "asset_id"]):
                batch.validate(full=True)
                pairs = zip(*(column.to_pylist() for column in batch.columns), strict=True)
                parts.append(packed([asset_key(*pair) for pair in pairs]))
    except StoreCorrupt as error:
        return error.message
    return np.concatenate(parts).tobytes() if parts else b""
