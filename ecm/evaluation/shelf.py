"""Where an evaluation keeps its documents: below `evaluation/` of the evidence store, per tenant.

    evaluation/<tenant>/query_sets/<name>/<version>/{set.json,<digest>.jsonl}
    evaluation/<tenant>/label_sets/<name>/<version>/{set.json,<digest>.jsonl}
    evaluation/<tenant>/runs/<run_id>/{run.json,answers.jsonl,queries.jsonl,summary.json,report.md,…}

Every document is created once and never changed; what is refreshed gets a new version. A set is
there once its head is: the lines are written first, under the name of what they are, so that of
several writers one is first and one who was stopped is in nobody's way. Knows names and contracts;
knows no measure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import ValidationError

from ecm.contracts.evaluation import EvaluationQuery, Label, LabelSet, QuerySet
from ecm.contracts.identity import Contract, TenantId, digest
from ecm.errors import ConfigError, StoreCorrupt
from ecm.evidence.storage import Storage

EVALUATION: Final = "evaluation"
HEAD: Final = "set.json"
_NAME: Final = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}")
_VERSION: Final = re.compile(r"^[0-9]{6}$")
Line = TypeVar("Line", bound=Contract)
Head = TypeVar("Head", QuerySet, LabelSet)


@dataclass(frozen=True)
class Queries:
    """A query set with its queries, in order."""

    head: QuerySet
    queries: tuple[EvaluationQuery, ...]


@dataclass(frozen=True)
class Labels:
    """A label set with its labels, sorted by query and asset."""

    head: LabelSet
    labels: tuple[Label, ...]


def lines_of(lines: Iterable[Contract]) -> bytes:
    """A JSONL file of contracts: UTF-8, one line each."""
    return b"".join(one.model_dump_json().encode() + b"\n" for one in lines)


def digest_of(lines: Iterable[Contract]) -> str:
    """Hex sha256 over lines in order: what a set's `digest` is."""
    return digest([one.model_dump(mode="json") for one in lines])


def read_lines(kind: type[Line], data: bytes, name: str) -> tuple[Line, ...]:
    """The contracts of a JSONL file. Raises StoreCorrupt with the number of the line."""
    found = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            found.append(kind.model_validate_json(line))
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise StoreCorrupt(f"{name}, line {number}: {said}") from error
    return tuple(found)


class Shelf:
    """The documents of one tenant. Any number of processes may write.

    Raises StoreUnavailable where the storage cannot be reached.
    """

    def __init__(self, storage: Storage, tenant_id: TenantId) -> None:
        self._storage = storage
        self.tenant_id = tenant_id
        self._folder = f"{EVALUATION}/{tenant_id}"

    def add_queries(self, head: QuerySet, queries: Sequence[EvaluationQuery]) -> bool:
        """Keep a version of a query set; False when there is one of that number already.

        Raises StoreCorrupt where head and queries are not of each other.
        """
        self._check(head, head.queries, queries)
        self._check_once(head.name, [one.query_id for one in queries])
        return self._add("query_sets", head.name, head.version, head, queries)

    def queries(self, name: str, version: int | None = None) -> Queries:
        """A query set, the newest version by default. Raises ConfigError, StoreCorrupt."""
        where = self._where("query_sets", name, version)
        head = self._head(QuerySet, where)
        self._check_place(where, head.name, head.version)
        found = self._lines(EvaluationQuery, f"{where}/{head.digest}.jsonl")
        self._check(head, head.queries, found)
        self._check_once(head.name, [one.query_id for one in found])
        return Queries(head, found)

    def add_labels(self, head: LabelSet, labels: Sequence[Label]) -> bool:
        """Keep a version of a label set; False when there is one of that number already.

        Raises StoreCorrupt where head and labels are not of each other.
        """
        self._check(head, head.labels, labels)
        self._check_once(head.name, [(one.query_id, one.asset_id) for one in labels])
        return self._add("label_sets", head.name, head.label_version, head, labels)

    def labels(self, name: str, version: int | None = None) -> Labels:
        """A label set, the newest version by default. Raises ConfigError, StoreCorrupt."""
        where = self._where("label_sets", name, version)
        head = self._head(LabelSet, where)
        self._check_place(where, head.name, head.label_version)
        found = self._lines(Label, f"{where}/{head.digest}.jsonl")
        self._check(head, head.labels, found)
        self._check_once(head.name, [(one.query_id, one.asset_id) for one in found])
        return Labels(head, found)

    def names(self, kind: str) -> tuple[str, ...]:
        """Names of `query_sets` or `label_sets`, ids of `runs`; sorted."""
        return self._storage.children(f"{self._folder}/{kind}")

    def versions(self, kind: str, name: str) -> tuple[int, ...]:
        """Versions of a set that are whole, oldest first; none of what cannot be a name."""
        if not _NAME.fullmatch(name):
            return ()
        where = f"{self._folder}/{kind}/{name}"
        numbers = filter(_VERSION.match, self._storage.children(where))
        return tuple(
            int(number)
            for number in numbers
            if self._storage.read(f"{where}/{number}/{HEAD}") is not None
        )

    def put(self, run_id: str, name: str, data: bytes) -> bool:
        """Keep a file of a run; False, with nothing changed, when there is one of that name."""
        return self._storage.put_new(f"{self._folder}/runs/{run_id}/{name}", data)

    def read(self, run_id: str, name: str) -> bytes | None:
        """A file of a run, None when there is none."""
        return self._storage.read(f"{self._folder}/runs/{run_id}/{name}")

    def files(self, run_id: str, folder: str) -> tuple[str, ...]:
        """Names of what lies in a folder of a run, sorted; empty when there is none."""
        return self._storage.children(f"{self._folder}/runs/{run_id}/{folder}")

    def drop(self, run_id: str, name: str) -> None:
        """Remove a file or folder of a run that another file holds all of."""
        self._storage.remove(f"{self._folder}/runs/{run_id}/{name}")

    def forget(self, run_id: str) -> None:
        """Remove a run with everything of it."""
        self._storage.remove(f"{self._folder}/runs/{run_id}")

    def _add(
        self,
        kind: str,
        name: str,
        version: int,
        head: QuerySet | LabelSet,
        lines: Sequence[Contract],
    ) -> bool:
        where = f"{self._folder}/{kind}/{name}/{version:06d}"
        self._storage.put_new(f"{where}/{head.digest}.jsonl", lines_of(lines))
        return self._storage.put_new(f"{where}/{HEAD}", head.model_dump_json().encode() + b"\n")

    def _where(self, kind: str, name: str, version: int | None) -> str:
        there = self.versions(kind, name)
        if not there or (version is not None and version not in there):
            asked = name if version is None else f"{name}, version {version}"
            raise ConfigError(
                f"no {kind.replace('_', ' ')[:-1]} {asked} of tenant {self.tenant_id}",
                "evaluation.no_set",
                f"there are: {', '.join(self.names(kind)) or 'none'}",
            )
        chosen = there[-1] if version is None else version
        return f"{self._folder}/{kind}/{name}/{chosen:06d}"

    def _head(self, kind: type[Head], where: str) -> Head:
        data = self._storage.read(f"{where}/{HEAD}")
        try:
            return kind.model_validate_json(data or b"")
        except ValidationError as error:
            raise StoreCorrupt(f"{where}/{HEAD}: {error.errors()[0]['msg']}") from error

    def _lines(self, kind: type[Line], name: str) -> tuple[Line, ...]:
        return read_lines(kind, self._storage.read(name) or b"", name)

    def _check(self, head: QuerySet | LabelSet, count: int, lines: Sequence[Contract]) -> None:
        if head.tenant_id != self.tenant_id:
            raise StoreCorrupt(f"a set of tenant {head.tenant_id}, not {self.tenant_id}")
        if count != len(lines) or head.digest != digest_of(lines):
            raise StoreCorrupt(f"set {head.name}: its lines are not those its head tells of")

    def _check_once(self, name: str, keys: Sequence[str] | Sequence[tuple[str, str]]) -> None:
        """Each query, and each label of a query and an asset, is there once."""
        if len(set(keys)) < len(keys):
            raise StoreCorrupt(f"set {name}: a line is there twice")

    def _check_place(self, where: str, name: str, version: int) -> None:
        """A set that was copied to another name or number is not that set."""
        if not where.endswith(f"/{name}/{version:06d}"):
            raise StoreCorrupt(f"{where} holds version {version} of {name}")
