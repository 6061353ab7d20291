"""What query sets are drawn from, opened for a tenant: its published snapshot, files, feedback.

Knows profiles and paths; what becomes of them is known to `ecm.evaluation.datasets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ecm.config import Profile
from ecm.contracts.feedback import StoredEvent
from ecm.errors import ConfigError, SnapshotNotFound
from ecm.evaluation.datasets.chance import drawn
from ecm.evaluation.datasets.files import numbered_lines, read_asked, read_described, said_of
from ecm.evaluation.datasets.known import KnownAssets, read_known
from ecm.evaluation.datasets.layouts import Looked
from ecm.evaluation.datasets.log_words import LogWords, anonymous
from ecm.evaluation.datasets.looks import Looks, look_of
from ecm.evaluation.datasets.sources import Sources
from ecm.evaluation.shelf import Shelf
from ecm.evidence.feedback import DamagedBatch, FeedbackStore
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import published_ref
from ecm.evidence.storage import STORE_HEADER, Storage, open_storage
from ecm.evidence.store import EvidenceStore

MOST_LOOKED: Final = 20_000
"""Pictures that are looked at for queries of look; of more, a sample, and nothing is complete."""
MOST_EVENTS: Final = 10_000_000
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Wanted:
    """What to draw from. `logs` is a file of `ecm feedback export`; `feedback`: the store's own."""

    labels: Path | None = None
    queries: Path | None = None
    logs: Path | None = None
    feedback: bool = False
    least_units: int = 3
    looks: bool = True
    locale: str = "en"


def open_shelf(settings: Profile) -> Shelf:
    """Where the tenant's evaluation lies. Raises ConfigError when there is no store."""
    return Shelf(_storage(settings), settings.tenant)


def open_sources(
    settings: Profile, wanted: Wanted, seed: int, progress: Progress
) -> tuple[Sources, dict[str, str]]:
    """Everything that queries can be drawn from, and what it was, by name.

    Files come first, so that a broken one is told before anything takes its time. Raises
    ConfigError (a file is refused, there is no store), SnapshotNotFound, StoreCorrupt.
    """
    described = read_described(wanted.labels) if wanted.labels is not None else None
    asked = read_asked(wanted.queries) if wanted.queries is not None else None
    log = _log_words(settings, wanted)
    store = EvidenceStore.open(settings.evidence)
    ref = published_ref(store)
    if ref is None:
        raise SnapshotNotFound("no snapshot is published yet", hint="index something first")
    reader = SnapshotReader.open(store, ref)
    known = read_known(reader, settings.tenant)
    if not len(known):
        raise ConfigError(
            f"the snapshot has no asset of tenant {settings.tenant}",
            "evaluation.no_assets",
            "index something for it first, or name another with --tenant",
        )
    looked = _looked(reader, known, seed, progress) if wanted.looks else None
    made_from = {"snapshot": ref.snapshot_id, "locale": wanted.locale}
    for name, written in (("labels", described), ("queries", asked)):
        if written is not None:
            made_from[name] = str(Path(written.name).resolve())
            made_from[f"{name}_sha256"] = written.digest
    if log is not None:
        made_from["searches"] = f"{len(log.texts)} texts asked by {wanted.least_units} units each"
        made_from["min_units"] = str(wanted.least_units)
    if wanted.feedback:
        made_from["feedback"] = "the store's"
    if wanted.logs is not None:
        made_from["logs"] = str(wanted.logs.resolve())
    if not wanted.looks:
        made_from["looks"] = "none"
    return Sources(known, described, asked, log, looked, wanted.locale), made_from


def _looked(reader: SnapshotReader, known: KnownAssets, seed: int, progress: Progress) -> Looked:
    chosen = sorted(known.by_id, key=lambda one: drawn(seed, "looked", one))[:MOST_LOOKED]
    looks = {}
    for done, asset_id in enumerate(chosen, start=1):
        asset = known.by_id[asset_id]
        picture = reader.thumbnail(known.tenant_id, asset_id)
        look = look_of(picture, asset.width, asset.height) if picture is not None else None
        if look is not None:
            looks[asset_id] = look
        progress(done, len(chosen))
    return Looked(Looks(looks), every=len(looks) == len(known))


def _log_words(settings: Profile, wanted: Wanted) -> LogWords | None:
    if wanted.logs is not None and wanted.feedback:
        raise ConfigError("a file of searches or the store's own, not both", "evaluation.logs")
    if wanted.least_units < 2:
        raise ConfigError(
            "searches that fewer than 2 units asked for are not anonymous", "evaluation.logs"
        )
    if wanted.logs is not None:
        return anonymous(_exported(wanted.logs, settings.tenant), wanted.least_units)
    if wanted.feedback:
        events = FeedbackStore(_storage(settings)).events(settings.tenant)
        return anonymous(_whole(events), wanted.least_units)
    return None


def _exported(path: Path, tenant_id: str) -> Iterator[StoredEvent]:
    """The events of a file of `ecm feedback export`. Raises ConfigError naming file and line."""
    from pydantic import ValidationError

    for number, line in numbered_lines(path, MOST_EVENTS):
        try:
            event = StoredEvent.model_validate_json(line)
        except ValidationError as error:
            raise _refused(path, number, said_of(error)) from error
        if event.tenant_id != tenant_id:
            raise _refused(path, number, f"an event of tenant {event.tenant_id}")
        yield event


def _refused(path: Path, number: int, why: str) -> ConfigError:
    return ConfigError(f"{path}, line {number}: {why}", "evaluation.input")


def _whole(events: Iterator[StoredEvent | DamagedBatch]) -> Iterator[StoredEvent]:
    """Raises ConfigError at a damaged batch: a sample without it would be another one."""
    for event in events:
        if isinstance(event, DamagedBatch):
            raise ConfigError(
                f"{event.name}: {event.reason}",
                "evaluation.damaged_feedback",
                "restore or remove it, or give an export of what is whole with --logs",
            )
        yield event


def _storage(settings: Profile) -> Storage:
    storage = open_storage(settings.evidence)
    if storage.read(STORE_HEADER) is None:
        raise ConfigError(
            f"no evidence store at {storage.root}",
            "config.no_store",
            "index something first, or check the path",
        )
    return storage
