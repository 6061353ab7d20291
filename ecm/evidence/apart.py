"""Transforms whose evidence lies beside: imported, kept, and never a snapshot's second choice.

A bundle may hold evidence of a model that this store's profile has under the same name with other
weights. Told to keep it apart, an import names its transforms here before any row of them is
written. Knows one small document, `apart.json`; whoever makes a snapshot policy asks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract, Digest
from ecm.errors import StoreCorrupt
from ecm.evidence.store import EvidenceStore

_NAME: Final = "apart.json"


class KeptApart(Contract):
    """Why a transform is apart: the bundle that brought it and when (Unix seconds, UTC)."""

    bundle_id: Digest
    model: str = Field(max_length=512, description="model id and revision, for people")
    at: float


class _Document(Contract):
    format_version: Literal[1] = 1
    transforms: dict[Digest, KeptApart] = Field(default_factory=dict)


def kept_apart(store: EvidenceStore) -> dict[str, KeptApart]:
    """The transforms that are kept apart, by fingerprint. Raises StoreCorrupt."""
    raw = store.storage.read(_NAME)
    if raw is None:
        return {}
    try:
        return dict(_Document.model_validate_json(raw).transforms)
    except ValidationError as error:
        raise StoreCorrupt(
            f"{_NAME} of the evidence store is damaged", hint="restore it from a copy"
        ) from error


def keep_apart(store: EvidenceStore, transforms: Mapping[str, KeptApart]) -> None:
    """Add transforms; those known stay as they are. The caller holds the right to commit."""
    known = kept_apart(store)
    if set(transforms) <= set(known):
        return
    document = _Document(transforms={**transforms, **known})
    store.storage.put(_NAME, document.model_dump_json().encode())


def never_chosen(store: EvidenceStore, wanted: Iterable[str]) -> tuple[str, ...]:
    """Those kept apart but for `wanted`, which a policy names itself; sorted."""
    return tuple(sorted(set(kept_apart(store)) - set(wanted)))
