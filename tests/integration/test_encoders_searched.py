"""From files to hits through the encoders on transformers, on tiny checkpoints, in one process.

SigLIP for vv, DINOv2 for x and Qwen3-Embedding for mv over the stages of a worker: pictures are
found by themselves on every axis, texts reach vv and mv, and what texts do not reach says why.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ecm.config import Profile
from ecm.contracts.identity import digest
from ecm.contracts.search import Axis, SearchRequest, SearchResponse
from ecm.contracts.task import TaskType
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from ecm.models.base import VisualQueryEncoder
from ecm.opening import axis_transforms, plan_of, search_parts
from ecm.search.encoders import EncodingRequest
from ecm.search.engine import SearchEngine
from ecm.search.opening import open_encoder, open_engine
from tests.factories import START, asset_id, fake_profile, gallery
from tests.workers import analysed, claimed, put, queued

PICTURES = gallery(2)
MODELS = ("models.vv=tiny-siglip", "models.x=tiny-dinov2", "models.mv=tiny-qwen3-embedding")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Profile:
    home = tmp_path_factory.mktemp("home")
    made = fake_profile(home, *MODELS)
    shutil.copytree(tiny_models, made.pinned_models)
    return made


@pytest.fixture(scope="module")
def engine(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    folder = put(tmp_path_factory.mktemp("photos"), PICTURES)
    with open_ledger(profile.ledger) as ledger:
        queued(ledger, profile, folder)
        envelopes = analysed(profile, claimed(ledger, profile, len(PICTURES)))
    assert not [envelope.error for envelope in envelopes if envelope.error]
    assert {e.task_type for e in envelopes} == {"vision", "vv_embed", "x_embed", "mv_embed"}
    store = EvidenceStore.create(profile.evidence, START)
    EvidenceCommitter(store).append(digest("all"), envelopes)
    snapshots = SnapshotStore(store)
    marks = axis_transforms(plan_of(profile))
    policy = SnapshotPolicy(transforms={axis: (mark,) for axis, mark in marks.items()})
    snapshots.publish(snapshots.build(policy, START).snapshot_id, START)
    with open_engine(search_parts(profile)) as opened:
        yield opened


def ask(engine: SearchEngine, **fields: object) -> SearchResponse:
    return engine.search(SearchRequest.model_validate({"tenant_id": "t", **fields}))


@pytest.mark.parametrize("axis", [Axis.VV, Axis.X])
def test_a_picture_is_found_by_itself(engine: SearchEngine, axis: Axis) -> None:
    for name in ("red-0.png", "blue-1.png", "green-0.png"):
        data = PICTURES[name]
        found = ask(engine, image=base64.b64encode(data), axes=(axis,), require=(axis,))
        assert found.hits[0].asset_id == asset_id(data)
        assert not found.degraded


def test_texts_reach_vv_and_mv(engine: SearchEngine) -> None:
    for axis in (Axis.VV, Axis.MV):
        found = ask(engine, text="a red car", axes=(axis,), require=(axis,))
        assert len(found.hits) == len(PICTURES)
        assert not found.degraded


def test_texts_do_not_reach_what_a_network_sees_and_hear_why(engine: SearchEngine) -> None:
    found = ask(engine, text="red on the left", axes=(Axis.X, Axis.VV))
    assert [(lost.axis, lost.reason) for lost in found.degraded] == [
        (Axis.X, "texts do not reach x, which is what a network sees here: ask with an image")
    ]


def test_pictures_and_texts_share_one_model(profile: Profile) -> None:
    encoder = open_encoder(search_parts(profile))
    models = encoder._models
    assert models.image is models.visual_text
    assert isinstance(models.image, VisualQueryEncoder)
    assert set(encoder.reaches()) == {Axis.VV, Axis.X, Axis.MV}


def test_a_model_of_x_that_cannot_be_used_costs_its_axis_alone(profile: Profile) -> None:
    parts = search_parts(profile)
    look = parts.manifests[Axis.X]
    file = look.files[0].model_copy(update={"sha256": "0" * 64})
    broken = look.model_copy(update={"files": (file, *look.files[1:])})
    encoder = open_encoder(replace(parts, manifests={**parts.manifests, Axis.X: broken}))
    axes = frozenset({Axis.VV, Axis.X})
    (found,) = encoder.encode([EncodingRequest(axes, image=PICTURES["red-0.png"])])
    assert set(found.vectors) == {Axis.VV}
    assert "the model cannot be used" in found.failures[Axis.X]
    assert set(encoder.reaches()) == {Axis.VV, Axis.MV}
    assert TaskType.X_EMBED in look.provides
