"""Which assets a step of a rollout looks at: nested samples of what is shown and lies somewhere.

An asset has one place in [0, 1) by its name alone, so that the sample of a step holds that of every
step before it, whatever else was indexed meanwhile. Reads the published snapshot; queues nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ecm.contracts.identity import ContentIdentity
from ecm.errors import SnapshotNotFound
from ecm.evidence.faults import lance_errors
from ecm.evidence.refs import published_ref
from ecm.evidence.store import EvidenceStore
from ecm.evidence.whereabouts import Whereabouts

Population = Mapping[str, Mapping[str, ContentIdentity]]
"""By tenant and asset id, a place where the asset lies now."""


def position(salt: str, tenant_id: str, asset_id: str) -> float:
    """Where an asset comes in the order of a rollout, in [0, 1): uniform, and always the same."""
    name = "\0".join((salt, tenant_id, asset_id))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2.0**64


def drawn(population: Population, salt: str, pct: int, least: int) -> dict[str, tuple[str, ...]]:
    """The sample of `pct` per cent by tenant, each in the order of its drawing.

    At least `least` assets in all, or as many as there are; a larger `pct` only ever adds to it.
    """
    order = sorted(
        (position(salt, tenant, asset), tenant, asset)
        for tenant, assets in population.items()
        for asset in assets
    )
    share = sum(place < pct / 100 for place, _, _ in order) if pct < 100 else len(order)
    sample: dict[str, list[str]] = {}
    for _, tenant, asset in order[: max(share, least)]:
        sample.setdefault(tenant, []).append(asset)
    return {tenant: tuple(assets) for tenant, assets in sample.items()}


def population_of(store: EvidenceStore) -> dict[str, dict[str, ContentIdentity]]:
    """What the published snapshot shows and still lies somewhere, of all tenants.

    Raises SnapshotNotFound when none is published, StoreCorrupt, StoreUnavailable.
    """
    ref = published_ref(store)
    if ref is None:
        raise SnapshotNotFound("no snapshot is published yet", hint="`ecm index` publishes one")
    with lance_errors(f"cannot read snapshot {ref.snapshot_id}"):
        rows = store.open_lance(ref.table, ref.version).to_table(columns=["tenant_id", "asset_id"])
    shown: dict[str, set[str]] = {}
    columns = (rows[name].to_pylist() for name in ("tenant_id", "asset_id"))
    for tenant, asset in zip(*columns, strict=True):
        shown.setdefault(tenant, set()).add(asset)
    return {tenant: _lying(store, tenant, assets) for tenant, assets in sorted(shown.items())}


def _lying(store: EvidenceStore, tenant: str, assets: set[str]) -> dict[str, ContentIdentity]:
    places: dict[str, ContentIdentity] = {}
    for asset, there, identity in Whereabouts.of(store, tenant).now.values():
        if there and asset in assets:
            known = places.get(asset)
            places[asset] = identity if known is None else min(known, identity, key=_uri)
    return places


def _uri(identity: ContentIdentity) -> str:
    return identity.uri
