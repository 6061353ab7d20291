"""What `ecm enqueue` compares with the store when its listing is complete: what is gone, and back.

Workers and services commit for it, so the right to commit is taken for a moment, when it is free.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ecm.config import Profile
from ecm.delivery.listed import ListedPlaces, listing_on_disk
from ecm.delivery.rescan import Look, Rescanned, rescan
from ecm.delivery.tenure import commit_tenure
from ecm.errors import ConfigError, LeaseLost, SnapshotRejected
from ecm.evidence.store import EvidenceStore
from ecm.opening import plan_of
from jobs.edge import note
from jobs.materialize import materialize


@contextmanager
def kept_listing(sources: tuple[str, ...]) -> Iterator[ListedPlaces]:
    """A listing on disk that nobody else knows of. Raises SourceError, ResourceExhausted."""
    with (
        tempfile.TemporaryDirectory(prefix="ecm-listing-") as folder,
        listing_on_disk(Path(folder) / "run", "listing", sources) as listed,
    ):
        yield listed


def compare(
    profile: Profile,
    listed: ListedPlaces,
    look: Look,
    max_gone_share: float,
) -> Rescanned | None:
    """Put on record what a complete listing says, and publish when something is gone or back, by
    the models that have the roles then: a rollout may have ended since the listing began.

    None, with a line on stderr, where that is another's to do: the store is at the other end of a
    service, somebody is committing to it right now, or there is none yet.
    """
    if profile.ledger.url.startswith(("http://", "https://")):
        _leave("the ledger is behind a service")
        return None
    try:
        store = EvidenceStore.open(profile.evidence)
    except ConfigError as error:
        if error.code == "config.no_store":
            return None
        raise
    try:
        with commit_tenure(profile.ledger, store) as tenure:
            found = rescan(store, listed, look, max_gone_share, tenure.confirm)
            if found.gone or found.returned:
                try:
                    materialize(store, plan_of(profile), profile.snapshots, tenure.confirm)
                except SnapshotRejected as error:
                    found = replace(found, problems=(*found.problems, str(error)))
            return found
    except LeaseLost as held:
        _leave(held.message)
        return None


def _leave(why: str) -> None:
    note(f"what is gone was not looked for ({why}); ecm index does it, too")
