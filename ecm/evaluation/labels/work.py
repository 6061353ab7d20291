"""Where label work lies: pools, batches and votes of one label set, beside the sets of the Shelf.

    evaluation/<tenant>/label_work/<set>/pools/<number>/{set.json,<digest>.jsonl}
    evaluation/<tenant>/label_work/<set>/batches/<number>/{set.json,<digest>.jsonl}
    evaluation/<tenant>/label_work/<set>/votes/<month>/<digest>.jsonl

Everything is created once and never changed: a vote is an object of its own, named by the digest of
its bytes, so that any number of people vote at once and telling a vote twice is telling it once.
Knows names and contracts; knows not what votes mean.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import ValidationError

from ecm.contracts.evaluation import Name
from ecm.contracts.feedback import day_of
from ecm.contracts.identity import Contract, TenantId
from ecm.contracts.labelling import Batch, BatchPair, Pool, PooledPair, Vote
from ecm.errors import ConfigError, StoreCorrupt
from ecm.evaluation.shelf import EVALUATION, HEAD, digest_of, lines_of, read_lines
from ecm.evidence.storage import Storage, check_name

LABEL_WORK: Final = "label_work"
_NUMBER: Final = re.compile(r"^[0-9]{6}$")
_MONTH: Final = re.compile(r"^[0-9]{4}-[0-9]{2}$")
_VOTES: Final = re.compile(r"^[0-9a-f]{40}\.jsonl$")
_NAME_HEX: Final = 40
Head = TypeVar("Head", Pool, Batch)
Line = TypeVar("Line", PooledPair, BatchPair)


@dataclass(frozen=True)
class Pooled:
    """A pool with its pairs, sorted by query and asset."""

    head: Pool
    pairs: tuple[PooledPair, ...]


@dataclass(frozen=True)
class Drawn:
    """A batch with its pairs, sorted by query and asset."""

    head: Batch
    pairs: tuple[BatchPair, ...]


def work_names(storage: Storage, tenant_id: TenantId) -> tuple[str, ...]:
    """The label sets of a tenant that there is work for, sorted. Raises StoreUnavailable."""
    return storage.children(f"{EVALUATION}/{tenant_id}/{LABEL_WORK}")


class LabelWork:
    """The work on one label set of one tenant. Thread-safe; any number of processes may write.

    Raises StoreUnavailable where the storage cannot be reached, StoreCorrupt where something is not
    what was written: labels do not come from what is left of it.
    """

    def __init__(self, storage: Storage, tenant_id: TenantId, name: Name) -> None:
        self._storage = storage
        self.tenant_id = tenant_id
        self.name = name
        self._folder = f"{EVALUATION}/{tenant_id}/{LABEL_WORK}/{name}"
        check_name(self._folder)
        self._read: set[str] = set()
        self._votes: dict[str, Vote] = {}
        self._ordered: tuple[Vote, ...] = ()
        self._drawn: dict[str, Drawn] = {}
        self._lock = threading.Lock()

    def add_pool(self, head: Pool, pairs: Sequence[PooledPair]) -> bool:
        """Keep a pool; False when there is one of that number already."""
        return self._add("pools", head, pairs)

    def pools(self) -> tuple[Pooled, ...]:
        """All pools, oldest first."""
        heads = [self._head("pools", number, Pool) for number in self._numbers("pools")]
        return tuple(
            Pooled(head, self._lines("pools", head, PooledPair))
            for head in heads
            if head is not None
        )

    def add_batch(self, head: Batch, pairs: Sequence[BatchPair]) -> bool:
        """Keep a batch; False when there is one of that number already."""
        return self._add("batches", head, pairs)

    def batches(self) -> tuple[Drawn, ...]:
        """All batches, oldest first; what was read before is remembered."""
        with self._lock:
            for number in self._numbers("batches"):
                if number not in self._drawn:
                    head = self._head("batches", number, Batch)
                    if head is not None:
                        self._drawn[number] = Drawn(head, self._lines("batches", head, BatchPair))
            return tuple(self._drawn[number] for number in sorted(self._drawn))

    def next_number(self, kind: str) -> int:
        """The number that the next of the `pools` or `batches` has."""
        numbers = [int(name) for name in self._numbers(kind)]
        return max(numbers, default=0) + 1

    def add_votes(self, votes: Sequence[Vote]) -> int:
        """Make votes durable, together by month; how many were not there yet.

        Raises ConfigError for votes of another tenant.
        """
        months: defaultdict[str, dict[str, Vote]] = defaultdict(dict)
        if len(votes) > 1:
            self.votes()
        for vote in votes:
            if vote.tenant_id != self.tenant_id:
                raise ConfigError(
                    f"a vote of tenant {vote.tenant_id}, not {self.tenant_id}", "labels.tenant"
                )
            text = vote.model_dump_json()
            if text not in self._votes:
                months[_month_of(vote)][text] = vote
        new = 0
        for month, batch in sorted(months.items()):
            data = lines_of(batch[text] for text in sorted(batch))
            name = f"{self._folder}/votes/{month}/{_name_of(data)}.jsonl"
            new += len(batch) if self._storage.put_new(name, data) else 0
        return new

    def votes(self) -> tuple[Vote, ...]:
        """All votes, in the order in which they were given; what was read before is remembered."""
        with self._lock:
            for month in filter(_MONTH.match, self._storage.children(f"{self._folder}/votes")):
                folder = f"{self._folder}/votes/{month}"
                for name in filter(_VOTES.match, self._storage.children(folder)):
                    if f"{folder}/{name}" not in self._read:
                        some = self._some(f"{folder}/{name}", month)
                        self._votes |= {vote.model_dump_json(): vote for vote in some}
                        self._read.add(f"{folder}/{name}")
            if len(self._ordered) < len(self._votes):
                found = sorted((vote.at, text) for text, vote in self._votes.items())
                self._ordered = tuple(self._votes[text] for _, text in found)
            return self._ordered

    def _some(self, name: str, month: str) -> tuple[Vote, ...]:
        data = self._storage.read(name) or b""
        hint = "restore it from a copy, or remove it to do without its votes"
        if not name.endswith(f"/{_name_of(data)}.jsonl"):
            raise StoreCorrupt(f"{name}: not the votes that were written", "store.votes", hint)
        votes = read_lines(Vote, data, name)
        if any((vote.tenant_id, _month_of(vote)) != (self.tenant_id, month) for vote in votes):
            raise StoreCorrupt(f"{name}: votes of another tenant or month", "store.votes", hint)
        return votes

    def _add(self, kind: str, head: Pool | Batch, pairs: Sequence[Contract]) -> bool:
        self._check(head, pairs)
        where = f"{self._folder}/{kind}/{head.number:06d}"
        self._storage.put_new(f"{where}/{head.digest}.jsonl", lines_of(pairs))
        return self._storage.put_new(f"{where}/{HEAD}", head.model_dump_json().encode() + b"\n")

    def _numbers(self, kind: str) -> tuple[str, ...]:
        return tuple(filter(_NUMBER.match, self._storage.children(f"{self._folder}/{kind}")))

    def _head(self, kind: str, number: str, of: type[Head]) -> Head | None:
        """The head of a pool or batch; None where its writer was stopped before it was there."""
        name = f"{self._folder}/{kind}/{number}/{HEAD}"
        data = self._storage.read(name)
        if data is None:
            return None
        try:
            return of.model_validate_json(data)
        except ValidationError as error:
            raise StoreCorrupt(f"{name}: {error.errors()[0]['msg']}") from error

    def _lines(self, kind: str, head: Pool | Batch, of: type[Line]) -> tuple[Line, ...]:
        name = f"{self._folder}/{kind}/{head.number:06d}/{head.digest}.jsonl"
        found = read_lines(of, self._storage.read(name) or b"", name)
        self._check(head, found)
        return found

    def _check(self, head: Pool | Batch, pairs: Sequence[Contract]) -> None:
        if (head.tenant_id, head.name) != (self.tenant_id, self.name):
            raise StoreCorrupt(f"label work on {head.name} of {head.tenant_id}, not {self.name}")
        if head.pairs != len(pairs) or head.digest != digest_of(pairs):
            raise StoreCorrupt(f"label work on {head.name}: its pairs are not those of its head")


def _month_of(vote: Vote) -> str:
    """The month of a vote (UTC), as 2026-11: few folders to list, few names in each."""
    return day_of(vote.at)[:7]


def _name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_NAME_HEX]
