"""Relinking: files that lie elsewhere now are found again by their content, not by their names.

Below each new place only files are read whose size some known content has; what is known gets a
version at its new place, and places below the old prefix that are not there any more are put on
record as gone, last, so that a relink which is killed has lost sight of nothing. Needs the right to
commit. Runs no model; the ledger is told by a rebuild.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import pyarrow as pa

from ecm.contracts.identity import ContentIdentity, digest, path_uri, uri_path
from ecm.crashpoints import crash_point
from ecm.errors import ConfigError, SourceError
from ecm.evidence.codec import version_key
from ecm.evidence.committer import EvidenceCommitter, StillMine
from ecm.evidence.schema import ASSET_SIGHTINGS, ASSET_VERSIONS, Sighting, fixed_schema
from ecm.evidence.sightings import Seen, sighting_rows
from ecm.evidence.store import EvidenceStore
from ecm.evidence.whereabouts import Whereabouts
from ecm.images.listing import Found, list_source, source_root
from ecm.images.reading import ResourceHash, hash_resource

RELINK_TRANSFORM: Final = digest(["transform", "relink", 1])
"""In place of a transform: what saw the content at its new place was no model."""

NAMED: Final = 5
READERS: Final = 8
"""Files read at a time: a disk is kept busy by few, object storage answers many."""
AHEAD: Final = 64
ROWS: Final = 50_000
_ABSENT: Final = (FileNotFoundError, NotADirectoryError)
_PLACE: Final = re.compile(r"^(/|\.|~|[A-Za-z][A-Za-z0-9+.-]*://)")
_SCHEME: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Move:
    """What lay below the URI `old` lies below the source `new` now."""

    old: str
    new: str

    @classmethod
    def parse(cls, text: str) -> Move:
        """From `OLD=NEW`, both paths or URIs. Raises ConfigError, SourceError for a missing NEW."""
        cuts = [place for place, letter in enumerate(text) if letter == "="]
        likely = [place for place in cuts if _PLACE.match(text[place + 1 :])]
        chosen = likely if len(likely) == 1 else cuts
        if len(chosen) != 1 or not text[: chosen[0]] or not text[chosen[0] + 1 :]:
            raise ConfigError(
                f"cannot tell the two places in {text!r}",
                code="relink.syntax",
                hint="write OLD=NEW with absolute paths or URIs",
            )
        old, new = text[: chosen[0]], os.path.expanduser(text[chosen[0] + 1 :])
        if old.startswith("file://"):
            old = path_uri(uri_path(old))  # quoted as listings quote
        elif not _SCHEME.match(old):
            old = path_uri(os.path.abspath(os.path.expanduser(old)))
        return cls(old.rstrip("/"), source_root(new))

    def held(self, uri: str) -> bool:
        """Whether a URI lies at or below the old place."""
        return uri == self.old or uri.startswith(f"{self.old}/")


@dataclass
class Relinked:
    """What a relink found, in files.

    `attached` lie at a place that is new, `known` were known there already, `strangers` hold no
    known content; `read` files of so many bytes were read to tell. Of `old_places` that held
    something so many are `gone`; `unmatched` assets lie nowhere now, of which some are named.
    """

    files: int = 0
    attached: int = 0
    known: int = 0
    strangers: int = 0
    read: int = 0
    bytes_read: int = 0
    old_places: int = 0
    gone: int = 0
    unmatched: int = 0
    named: tuple[str, ...] = ()
    unreadable: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        return {
            "files": self.files,
            "attached": self.attached,
            "known": self.known,
            "strangers": self.strangers,
            "read": self.read,
            "bytes_read": self.bytes_read,
            "old_places": self.old_places,
            "gone": self.gone,
            "unmatched": self.unmatched,
            "unmatched_named": list(self.named),
            "unreadable": len(self.unreadable),
            "unreadable_named": self.unreadable[:NAMED],
        }


@dataclass(frozen=True)
class Relinking:
    """Whose places, which moves, under which run, and when (Unix seconds)."""

    tenant_id: str
    moves: tuple[Move, ...]
    run_id: str
    now: float


@dataclass(frozen=True)
class Findings:
    """What a relink would put on record: versions at new places, places again, places gone."""

    counts: Relinked
    attached: tuple[Seen, ...]
    again: tuple[Seen, ...]
    gone: tuple[Seen, ...]

    @property
    def changes(self) -> bool:
        """Whether there is anything to put on record."""
        return bool(self.attached or self.again or self.gone)


Report = Callable[[Relinked], None]


def look(store: EvidenceStore, relinking: Relinking, report: Report) -> Findings:
    """Find known content below the new places. Changes nothing.

    Raises SourceError for a place that cannot be listed and, code `relink.nothing`, when nothing
    below the new places is known: it is more likely the wrong folder than a loss of everything.
    """
    places = Whereabouts.of(store, relinking.tenant_id)
    counts = Relinked()
    attached: list[Seen] = []
    again: list[Seen] = []
    there: set[str] = set()
    found: set[str] = set()
    for identity, read in _read_ahead(_found_once(relinking.moves, there), places):
        counts.files += 1
        seen = _recognised(places, relinking, identity, read, counts)
        if seen is not None:
            found.add(seen.asset_id)
            now_there = places.now.get(seen.identity.uri)
            if not places.holds_version(seen):
                attached.append(seen)
            elif now_there is None or now_there[:2] != (seen.asset_id, True):
                again.append(seen)
            else:
                counts.known += 1
        report(counts)
    counts.attached = len(attached) + len(again)
    if not found:
        raise SourceError(
            f"none of the {counts.files} images below the new places is known"
            + (f", {counts.unreadable[0]} cannot be read" if counts.unreadable else ""),
            "relink.nothing",
            "nothing was changed; check the path, the tenant, and ecm sql over asset_versions",
        )
    gone = tuple(_gone(places, relinking, there, counts))
    _count_lost(counts, places, gone, found)
    return Findings(counts, tuple(attached), tuple(again), gone)


def record(
    store: EvidenceStore, relinking: Relinking, findings: Findings, still_mine: StillMine
) -> None:
    """Put findings on record. Repeatable. Raises LeaseLost, and as `EvidenceCommitter.append`."""
    committer = EvidenceCommitter(store)
    for number, part in enumerate(_chunks(findings.attached)):
        batch = f"{relinking.run_id}-found-{number:06d}"
        rows = _version_rows(part, relinking.run_id, batch)
        committer.append_rows(ASSET_VERSIONS, rows, batch, still_mine)
    crash_point("relink.attached")
    for name, looks in (("again", findings.again), ("gone", findings.gone)):
        for number, part in enumerate(_chunks(looks)):
            batch = f"{relinking.run_id}-{name}-{number:06d}"
            rows = sighting_rows(part, relinking.run_id, batch)
            committer.append_rows(ASSET_SIGHTINGS, rows, batch, still_mine)


def _found_once(moves: Iterable[Move], there: set[str]) -> Iterator[ContentIdentity]:
    """Images below the new places; `there` collects their URIs."""
    for move in moves:
        for entry in list_source(move.new):
            if isinstance(entry, Found) and entry.uri not in there:
                there.add(entry.uri)
                yield entry.identity


def _read_ahead(
    listed: Iterator[ContentIdentity], places: Whereabouts
) -> Iterator[tuple[ContentIdentity, Future[ResourceHash] | None]]:
    """Every identity in order, with its hash where only that can tell; a few are read ahead."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="relink") as readers:
        pending: deque[tuple[ContentIdentity, Future[ResourceHash] | None]] = deque()
        try:
            for identity in listed:
                known = places.by_identity.get(identity.key()) in places.assets
                unread = known or identity.size not in places.sizes
                reading = None if unread else readers.submit(hash_resource, identity)
                pending.append((identity, reading))
                if len(pending) > AHEAD:
                    yield pending.popleft()
            yield from pending
        finally:
            for _, reading in pending:
                if reading is not None:
                    reading.cancel()


def _recognised(
    places: Whereabouts,
    relinking: Relinking,
    identity: ContentIdentity,
    reading: Future[ResourceHash] | None,
    counts: Relinked,
) -> Seen | None:
    """The known content a file holds: by its identity if it was seen there, else by its bytes."""
    asset = places.by_identity.get(identity.key())
    if reading is not None:
        try:
            read = reading.result()
        except SourceError as error:
            counts.unreadable.append(f"{identity.uri} ({error.code})")
            return None
        counts.read += 1
        counts.bytes_read += read.identity.size
        identity, asset = read.identity, read.content_hash
    if asset not in places.assets:
        counts.strangers += 1
        return None
    return Seen(relinking.tenant_id, asset, Sighting.PRESENT, identity, relinking.now)


def _gone(
    places: Whereabouts, relinking: Relinking, there: set[str], counts: Relinked
) -> Iterator[Seen]:
    """Places below the old prefixes that hold nothing any more.

    An old place that cannot be looked at is left alone and named: it may be all there.
    """
    empty, hidden = [], []
    for move in relinking.moves:
        try:
            lying = _listed(move.old)
        except SourceError as error:
            counts.unreadable.append(f"{move.old} ({error.code})")
            continue
        empty.append(move)
        there |= lying
        hidden += [uri for uri in lying if uri.endswith("/")]  # folders that could not be listed
    for uri, (asset, present, identity) in places.now.items():
        if not present or not any(move.held(uri) for move in relinking.moves):
            continue
        counts.old_places += 1
        if uri in there or not any(move.held(uri) for move in empty):
            continue
        if not uri.startswith(tuple(hidden)):
            yield Seen(relinking.tenant_id, asset, Sighting.GONE, identity, relinking.now)


def _listed(old: str) -> set[str]:
    """What still lies at an old place, of which this machine may never have heard."""
    try:
        return {entry.uri for entry in list_source(old)}
    except SourceError as error:
        cause = error.__cause__
        absent = not isinstance(cause, OSError) or isinstance(cause, _ABSENT)
        if error.code == "source.scheme" or (error.code == "source.missing" and absent):
            return set()
        raise


def _count_lost(
    counts: Relinked, places: Whereabouts, gone: Sequence[Seen], found: set[str]
) -> None:
    """Assets that lost a place and lie nowhere now."""
    leaving = {seen.identity.uri for seen in gone}
    elsewhere = {
        asset for uri, (asset, present, _) in places.now.items() if present and uri not in leaving
    }
    lost = [seen for seen in gone if seen.asset_id not in found | elsewhere]
    counts.gone = len(gone)
    counts.unmatched = len({seen.asset_id for seen in lost})
    counts.named = tuple(seen.identity.uri for seen in lost[:NAMED])


def _version_rows(seen: Iterable[Seen], run_id: str, batch_id: str) -> pa.Table:
    rows = {}
    for each in seen:
        place = each.identity
        key = version_key(
            each.tenant_id, each.asset_id, place.uri, place.size, place.mtime_ns, place.etag
        )
        rows[key] = {
            "version_id": key,
            "tenant_id": each.tenant_id,
            "asset_id": each.asset_id,
            "run_id": run_id,
            "transform": RELINK_TRANSFORM,
            "batch_id": batch_id,
            "observed_at": each.observed_at,
            **place.model_dump(),
        }
    return pa.Table.from_pylist(list(rows.values()), schema=fixed_schema(ASSET_VERSIONS))


def _chunks(seen: Sequence[Seen]) -> Iterator[Sequence[Seen]]:
    rest = iter(seen)
    while part := tuple(islice(rest, ROWS)):
        yield part
