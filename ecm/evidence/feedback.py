"""Feedback as it lies in a store: small immutable objects, each created exclusively.

    feedback/salt                                 keys the marks of people and sessions
    feedback/events/<tenant>/<day>/<name>.jsonl   events of one tenant and day (UTC), a line each

The name of a batch is the digest of its bytes, which follow from the events alone: the same events
are the same object, on a disk as on S3, and a batch that is not what it was is recognised. An event
that came twice in different company is read once: the first of its id and day counts. Knows no
HTTP; evidence and snapshots are not touched.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from pydantic import ValidationError

from ecm.contracts.feedback import FeedbackEvent, StoredEvent, day_of
from ecm.contracts.identity import TenantId, canonical_json, digest
from ecm.errors import ContractError, StoreCorrupt, StoreUnavailable
from ecm.evidence.storage import STORE_HEADER, Storage, check_name

FEEDBACK: Final = "feedback"
_EVENTS: Final = f"{FEEDBACK}/events"
_SALT: Final = f"{FEEDBACK}/salt"
_SALT_BYTES: Final = 32
_MARK_HEX: Final = 32
_NAME_HEX: Final = 40
_DAY: Final = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
_BATCH: Final = re.compile(r"^[0-9a-f]{40}\.jsonl$")
DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class DamagedBatch:
    """A batch that is not what was written, by its name inside the store, and how that is known."""

    name: str
    reason: str


class FeedbackStore:
    """Feedback of all tenants of one store. Thread-safe; any number of processes may write."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._salt: bytes | None = None

    def sealed(self, tenant_id: TenantId, event: FeedbackEvent) -> StoredEvent:
        """The event as it is stored: with marks in place of names, and an id.

        Raises StoreUnavailable, StoreCorrupt: without the salt nobody can be marked.
        """
        said = event.model_dump(exclude={"event_id", "unit", "session"})
        for kind, name in (("unit", event.unit), ("session", event.session)):
            said[kind] = None if name is None else self.mark(tenant_id, kind, name)
        # Not from what was sent: whoever holds the store could try names against such an id.
        name = event.event_id or digest(["feedback", tenant_id, said])
        return StoredEvent.model_validate({"tenant_id": tenant_id, "event_id": name, **said})

    def mark(self, tenant_id: TenantId, kind: str, name: str) -> str:
        """The keyed hash of a name of some kind (unit, session, key), as events bear it.

        Another one for each tenant: who is known to two of them is not recognised. Raises
        StoreUnavailable, StoreCorrupt.
        """
        said = canonical_json([kind, tenant_id, name])
        return hmac.new(self._own_salt(), said, hashlib.sha256).hexdigest()[:_MARK_HEX]

    def add(self, events: Sequence[StoredEvent]) -> tuple[StoredEvent, ...]:
        """Make events durable, in a batch for each tenant and day of them; those that are new.

        Of events with one id the first counts. Raises StoreUnavailable; what was written until then
        stays, and adding the same again is right.
        """
        self._check_store()
        new: list[StoredEvent] = []
        for (tenant_id, day), batch in _batches(events):
            data = _bytes(batch)
            if self._storage.put_new(_name(tenant_id, day, data), data):
                new += batch
        return tuple(new)

    def tenants(self) -> tuple[str, ...]:
        """Tenants that have feedback, sorted. Raises StoreUnavailable."""
        return self._storage.children(_EVENTS)

    def days(self, tenant_id: TenantId) -> tuple[str, ...]:
        """Days on which a tenant has feedback, oldest first. Raises StoreUnavailable."""
        found = self._storage.children(_folder(tenant_id))
        return tuple(filter(_DAY.match, found))

    def events(
        self, tenant_id: TenantId, since: float = 0.0
    ) -> Iterator[StoredEvent | DamagedBatch]:
        """Events of a tenant from `since` (Unix seconds) on, day by day and in order within each,
        every id once a day; and every batch that is damaged, none of whose events count.

        Holds the events of one day. Raises StoreUnavailable.
        """
        for day in self.days(tenant_id):
            if day >= day_of(since):
                yield from self._of_day(tenant_id, day, since)

    def forget_before(self, day: str) -> int:
        """Remove what every tenant has of days before one; how many days of tenants went.

        Raises StoreUnavailable.
        """
        doomed = [
            f"{_folder(tenant_id)}/{old}"
            for tenant_id in self.tenants()
            for old in self.days(tenant_id)
            if old < day
        ]
        for name in doomed:
            self._storage.remove(name)
        return len(doomed)

    def _of_day(
        self, tenant_id: TenantId, day: str, since: float
    ) -> Iterator[StoredEvent | DamagedBatch]:
        folder = f"{_folder(tenant_id)}/{day}"
        found: dict[str, StoredEvent] = {}
        for name in filter(_BATCH.match, self._storage.children(folder)):
            batch = self._read(f"{folder}/{name}", tenant_id, day)
            if isinstance(batch, DamagedBatch):
                yield batch
                continue
            for event in batch:
                found.setdefault(event.event_id, event)
        yield from sorted((e for e in found.values() if e.at >= since), key=_place)

    def _read(
        self, name: str, tenant_id: TenantId, day: str
    ) -> tuple[StoredEvent, ...] | DamagedBatch:
        data = self._storage.read(name)
        if data is None:  # its day has been forgotten meanwhile
            return ()
        if not name.endswith(f"/{_digest(data)}.jsonl"):
            return DamagedBatch(name, "its bytes are not those that were written")
        try:
            events = tuple(map(StoredEvent.model_validate_json, data.splitlines()))
        except ValidationError as error:
            return DamagedBatch(name, f"not a batch of feedback: {error.errors()[0]['msg']}")
        if any((event.tenant_id, event.day) != (tenant_id, day) for event in events):
            return DamagedBatch(name, "it lies in the folder of another tenant or day")
        return events

    def _own_salt(self) -> bytes:
        if self._salt is None:
            self._check_store()
            made = secrets.token_bytes(_SALT_BYTES)
            written = self._storage.put_new(_SALT, made)
            self._salt = made if written else self._written_salt()
        return self._salt

    def _written_salt(self) -> bytes:
        salt = self._storage.read(_SALT)
        if salt is None or len(salt) != _SALT_BYTES:
            raise StoreCorrupt(
                f"{_SALT} of the evidence store is damaged",
                "store.feedback_salt",
                "restore it from a copy; without it nobody is recognised in what is stored",
            )
        return salt

    def _check_store(self) -> None:
        """A store is made in an empty folder only, so nothing is written before it is there."""
        if self._storage.read(STORE_HEADER) is None:
            raise StoreUnavailable(
                f"no evidence store at {self._storage.root} yet", hint="index something first"
            )


def _batches(
    events: Sequence[StoredEvent],
) -> Iterator[tuple[tuple[str, str], tuple[StoredEvent, ...]]]:
    once: dict[tuple[str, str, str], StoredEvent] = {}
    for event in events:
        once.setdefault((event.tenant_id, event.day, event.event_id), event)
    ordered = [once[key] for key in sorted(once)]
    for key, group in groupby(ordered, lambda event: (event.tenant_id, event.day)):
        yield key, tuple(group)


def _bytes(batch: Sequence[StoredEvent]) -> bytes:
    return b"".join(_line(event) for event in batch)


def _line(event: StoredEvent) -> bytes:
    left = {"experiment"} if event.experiment is None else None
    return event.model_dump_json(exclude=left).encode() + b"\n"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_NAME_HEX]


def _name(tenant_id: TenantId, day: str, data: bytes) -> str:
    return f"{_folder(tenant_id)}/{day}/{_digest(data)}.jsonl"


def _folder(tenant_id: TenantId) -> str:
    name = f"{_EVENTS}/{tenant_id}"
    check_name(name)
    if "/" in tenant_id:
        raise ContractError(f"no tenant is named {tenant_id!r}")
    return name


def _place(event: StoredEvent) -> tuple[float, str]:
    return event.at, event.event_id
