"""Pins: who reads a snapshot, so that collection spares it, and what collection has condemned.

Both sides speak before they look. A reader writes its pin, then looks for a condemnation; whoever
collects condemns, then looks for pins and at what is published. One of the two sees the other, so
nothing is removed under a reader's hands. Knows no snapshot's contents and starts no thread.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract
from ecm.errors import SnapshotNotFound, StoreCorrupt
from ecm.evidence.refs import folder_of, has_ref
from ecm.evidence.store import EvidenceStore

PINS: Final = "pins"
SLACK: Final = 60.0
"""Seconds by which clocks of readers may differ from that of whoever collects."""

_CONDEMNED: Final = "condemned.json"
_SUFFIX: Final = ".json"
_SHARE: Final = 0.25
"""Of its time to live after which a pin is renewed."""


class Pin(Contract):
    """`pins/<snapshot>/<reader>.json`: the snapshot is read until then, or longer if renewed."""

    expires_at: float = Field(description="Unix seconds (UTC)")
    holder: str = Field(min_length=1, max_length=300, description="who reads, for people")


@dataclass(frozen=True)
class Held:
    """One pin as it lies in the store."""

    snapshot_id: str
    reader: str
    pin: Pin

    def is_live(self, now: float) -> bool:
        return now < self.pin.expires_at + SLACK


def new_reader(kind: str) -> str:
    """A name that no other reader has, such as `searcher-1f0c…`."""
    return f"{kind}-{uuid.uuid4().hex}"


def pin(store: EvidenceStore, snapshot_id: str, reader: str, said: Pin) -> None:
    """Write or renew a pin.

    Raises SnapshotNotFound, with the pin taken back, when the snapshot is being removed or is not
    there; errors of the storage, among them ConfigError where this process may not write.
    """
    name = _name(snapshot_id, reader)
    store.storage.put(name, said.model_dump_json().encode())
    if is_condemned(store, snapshot_id):
        store.storage.remove(name)
        raise SnapshotNotFound(
            f"snapshot {snapshot_id} is being removed",
            hint="`ecm snapshots gc` finishes it; `ecm snapshots list` shows the others",
        )
    if not has_ref(store, snapshot_id):
        store.storage.remove(name)
        raise SnapshotNotFound(f"snapshot {snapshot_id} was removed")


def unpin(store: EvidenceStore, snapshot_id: str, reader: str) -> None:
    """Take a pin away; nothing happens when there is none."""
    store.storage.remove(_name(snapshot_id, reader))


@contextmanager
def pinned(
    store: EvidenceStore, snapshot_id: str, kind: str, now: float, seconds: float
) -> Iterator[None]:
    """Hold a pin for the block, which must not take longer than `seconds`. Raises as `pin`."""
    reader = new_reader(kind)
    pin(store, snapshot_id, reader, Pin(expires_at=now + seconds, holder=kind))
    try:
        yield
    finally:
        unpin(store, snapshot_id, reader)


def pins_of(store: EvidenceStore, snapshot_id: str) -> tuple[Held, ...]:
    """Every pin on a snapshot, live or not. Raises StoreCorrupt for one that cannot be read."""
    found = []
    for name in store.storage.children(f"{PINS}/{snapshot_id}"):
        if not name.endswith(_SUFFIX):
            continue
        reader = name.removesuffix(_SUFFIX)
        raw = store.storage.read(_name(snapshot_id, reader))
        if raw is not None:
            found.append(Held(snapshot_id, reader, _parsed(raw, _name(snapshot_id, reader))))
    return tuple(found)


def all_pins(store: EvidenceStore) -> tuple[Held, ...]:
    """Every pin of the store, live or not. Raises StoreCorrupt for one that cannot be read."""
    return tuple(
        held for snapshot in store.storage.children(PINS) for held in pins_of(store, snapshot)
    )


def condemn(store: EvidenceStore, snapshot_id: str) -> None:
    """From now on nobody can pin the snapshot; look at pins and publication after this."""
    store.storage.put(f"{folder_of(snapshot_id)}/{_CONDEMNED}", b"{}")


def spare(store: EvidenceStore, snapshot_id: str) -> None:
    """Take a condemnation back."""
    store.storage.remove(f"{folder_of(snapshot_id)}/{_CONDEMNED}")


def is_condemned(store: EvidenceStore, snapshot_id: str) -> bool:
    return store.storage.read(f"{folder_of(snapshot_id)}/{_CONDEMNED}") is not None


class PinKeeper:
    """The pins of one long-lived reader. Thread-safe.

    Asking often is cheap: a pin is written at the first `keep` and then once in a quarter of its
    time to live. A snapshot that is no longer asked for keeps its pin until that runs out, which
    is what requests on their way still need.

    Args:
        opened: the store, asked for when there is something to pin.
        holder: who reads, for people.
        seconds: time to live of a pin; more than four thirds of the longest request.
    """

    def __init__(self, opened: Callable[[], EvidenceStore], holder: str, seconds: float) -> None:
        self._opened = opened
        self._holder = holder
        self._seconds = seconds
        self._reader = new_reader("searcher")
        self._expiries: dict[str, float] = {}
        self._ended = False
        self._turn = threading.Lock()

    def keep(self, snapshot_ids: Collection[str], now: float) -> frozenset[str]:
        """Pin these, drop what has run out of the others; those of them that are being removed.

        Raises what the storage raises; the pins that are not yet written are tried again next time.
        """
        with self._turn:
            if self._ended:
                return frozenset()
            self._drop(frozenset(snapshot_ids), now)
            return frozenset(one for one in snapshot_ids if not self._kept(one, now))

    def release(self) -> None:
        """Take every pin away and write none any more: the reader is ending.

        Raises what the storage raises.
        """
        with self._turn:
            self._ended = True
            while self._expiries:
                unpin(self._opened(), self._expiries.popitem()[0], self._reader)

    def _kept(self, snapshot_id: str, now: float) -> bool:
        due = self._expiries.get(snapshot_id, 0.0) - (1 - _SHARE) * self._seconds
        if now < due:
            return True
        said = Pin(expires_at=now + self._seconds, holder=self._holder)
        try:
            pin(self._opened(), snapshot_id, self._reader, said)
        except SnapshotNotFound:
            self._expiries.pop(snapshot_id, None)
            return False
        self._expiries[snapshot_id] = said.expires_at
        return True

    def _drop(self, wanted: frozenset[str], now: float) -> None:
        for snapshot_id, expires_at in list(self._expiries.items()):
            if snapshot_id not in wanted and now >= expires_at:
                unpin(self._opened(), snapshot_id, self._reader)
                del self._expiries[snapshot_id]


def _name(snapshot_id: str, reader: str) -> str:
    return f"{PINS}/{snapshot_id}/{reader}{_SUFFIX}"


def _parsed(raw: bytes, name: str) -> Pin:
    try:
        return Pin.model_validate_json(raw)
    except ValidationError as error:
        raise StoreCorrupt(f"{name} is damaged", hint="remove it if nobody reads") from error
