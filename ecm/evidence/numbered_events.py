"""A story as a folder of numbered events, each written once: `<folder>/0000.json`, `0001.json`, …

Whoever writes number n decides what happened then, so that of two writers one is refused. Knows
files and numbers; what an event says is known to whoever keeps the story.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol, Self, TypeVar

from pydantic import ValidationError

from ecm.errors import StoreCorrupt
from ecm.evidence.storage import Storage

_EVENT: Final = re.compile(r"^[0-9]{4}\.json$")


class Numbered(Protocol):
    """A contract that says its number, from 0."""

    @property
    def number(self) -> int: ...

    def model_dump_json(self) -> str: ...

    @classmethod
    def model_validate_json(cls, json_data: bytes) -> Self: ...


Event = TypeVar("Event", bound=Numbered)


def read_events(
    storage: Storage,
    folder: str,
    kind: type[Event],
    damaged: Callable[[str], StoreCorrupt],
    known: tuple[Event, ...] = (),
) -> tuple[Event, ...]:
    """All events, oldest first; none while the first is being written. `known` are the first ones,
    which are not read again.

    Raises what `damaged` makes of what cannot be read and of events that are missing, and
    StoreUnavailable.
    """
    names = sorted(filter(_EVENT.match, storage.children(folder)))
    events = list(known)
    for name in names[len(known) :]:
        where = f"{folder}/{name}"
        try:
            events.append(kind.model_validate_json(storage.read(where) or b""))
        except ValidationError as error:
            raise damaged(where) from error
    whole = [event.number for event in events] == list(range(len(events)))
    if not whole or len(names) < len(known):
        raise damaged(f"{folder}: events are missing")
    return tuple(events)


def put_event(storage: Storage, folder: str, event: Numbered) -> bool:
    """Write an event under its number; False, with nothing changed, when somebody else has."""
    return storage.put_new(f"{folder}/{event.number:04d}.json", event.model_dump_json().encode())
