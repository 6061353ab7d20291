"""What is known of bytes that could not be analysed: where they lie, and what is no more there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ecm.contracts.result import EnvelopeStatus
from ecm.delivery.audit import audit_job
from ecm.delivery.desk import Desk
from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from ecm.opening import desk_settings, plan_of
from ecm.publishing import materialize
from tests.factories import fake_profile, picture
from tests.workers import analysed, claimed, put, queued

PATIENCE = 30.0


def _versions(store: EvidenceStore) -> list[dict[str, object]]:
    return store.sql(
        "SELECT asset_id, uri FROM asset_versions ORDER BY observed_at, asset_id"
    ).to_pylist()


def test_a_photo_replaced_by_damage_is_on_record_and_no_longer_found(tmp_path: Path) -> None:
    profile = fake_profile(tmp_path / "home", "pipeline.commit_seconds=0.05")
    profile.home.mkdir()
    photos = put(tmp_path / "photos", {"a.png": picture("red"), "b.png": picture("blue")})
    with open_ledger(profile.ledger) as ledger:
        with Desk(desk_settings(profile), "desk", ledger) as desk:
            queued(ledger, profile, photos)
            desk.deliver(analysed(profile, claimed(ledger, profile, 2))).result(PATIENCE)
            store = EvidenceStore.open(profile.evidence)
            before = _versions(store)
            assert len(before) == 2

            damage = picture("green")[:60]
            (photos / "a.png").write_bytes(damage)
            job = queued(ledger, profile, photos)
            failed = analysed(profile, claimed(ledger, profile, 2))
            assert {e.status for e in failed} == {EnvelopeStatus.FAILED}
            receipt = desk.deliver(failed).result(PATIENCE)
            assert len(receipt.dead) == len(failed)
            desk.deliver(failed).result(PATIENCE)

        now = _versions(EvidenceStore.open(profile.evidence))
        content = hashlib.sha256(damage).hexdigest()
        assert [row for row in now if row not in before] == [
            {"asset_id": content, "uri": next(e.resource_fingerprint.uri for e in failed)}
        ]
        assert audit_job(ledger, store, job).balanced
    ref = materialize(store, plan_of(profile))
    assert (ref.assets, ref.measurements.superseded) == (1, 1)


def test_what_comes_too_late_leaves_no_fact(tmp_path: Path) -> None:
    profile = fake_profile(tmp_path / "home", "pipeline.commit_seconds=0.05")
    profile.home.mkdir()
    photos = put(tmp_path / "photos", {"a.png": picture("green")[:60], "b.png": picture("blue")})
    with open_ledger(profile.ledger) as ledger, Desk(desk_settings(profile), "d", ledger) as desk:
        queued(ledger, profile, photos)
        results = analysed(profile, claimed(ledger, profile, 2, ttl=0.5))
        ledger.rescue_expired(ledger.now() + 1.0)
        claimed(ledger, profile, 2)
        receipt = desk.deliver(results).result(PATIENCE)
        assert len(receipt.stale) == len(results)
        store = EvidenceStore.open(profile.evidence)
        assert not store.has_table("asset_versions") or _versions(store) == []
