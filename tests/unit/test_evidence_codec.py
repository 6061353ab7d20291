"""What rows envelopes leave, as another module sees them."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.identity import evidence_id, evidence_key
from ecm.contracts.result import (
    EnvelopeError,
    EnvelopeStatus,
    ErrorClass,
    LabelStatement,
    Outputs,
    ResultEnvelope,
    Space,
)
from ecm.errors import ContractError
from ecm.evidence.codec import key_of, tables_of
from ecm.evidence.schema import is_evidence_table, key_column, vector_table
from tests.evidence_envelopes import (
    JPEG,
    VV,
    X,
    content_of,
    embedded,
    envelope,
    everything,
    failed,
    ocr,
    vector_of,
    vision,
)

PARTIAL = EnvelopeError(
    **{"class": ErrorClass.MODEL}, code="model.cut", stage="caption", message="cut short"
)


def test_every_statement_of_an_envelope_is_a_row_with_its_origin() -> None:
    said = vision("a", "a dog", ("dog", "golden retriever"), thumbnail=JPEG)
    tables = tables_of([said, embedded("a")], "b1")

    text = tables["evidence_text"].to_pylist()
    assert [(r["kind"], r["ordinal"], r["text"], r["confidence"], r["scheme"]) for r in text] == [
        ("caption", 0, "a dog", 0.5, ""),
        ("tag", 0, "dog", 0.9, ""),
        ("tag", 1, "golden retriever", 0.85, ""),
        ("classification", 0, "dog", 0.9, "imagenet-1k"),
    ]
    key = evidence_key("t", content_of("a"), "vision", said.transform)
    assert {r["evidence_key"] for r in text} == {key}
    assert text[2]["evidence_id"] == evidence_id(key, "tag", 1)
    assert {(r["tenant_id"], r["asset_id"], r["run_id"], r["batch_id"]) for r in text} == {
        ("t", content_of("a"), "run-1", "b1")
    }
    assert tables["thumbnails"]["jpeg"].to_pylist() == [JPEG]
    assert tables["assets"].select(["width", "height", "format"]).to_pylist() == [
        {"width": 640, "height": 480, "format": "JPEG"}
    ]
    assert tables["asset_versions"].select(["uri", "size", "mtime_ns", "etag"]).to_pylist() == [
        {"uri": "file:///photos/a.jpg", "size": 123, "mtime_ns": 77, "etag": None}
    ]


def test_a_vector_survives_to_the_bit_with_norm_and_checksum() -> None:
    table = tables_of([embedded("a"), embedded("b")], "b1")[vector_table(Space.VV, VV)]
    stored = np.stack(table["vector"].to_numpy())
    np.testing.assert_array_equal(
        stored, [vector_of(Space.VV, "a"), vector_of(Space.VV, "b")], strict=False
    )
    raw = vector_of(Space.VV, "a").astype("<f4").tobytes()
    assert table["checksum"][0].as_py() == hashlib.sha256(raw).hexdigest()
    assert table["norm"].to_pylist() == [2.5, 2.5]
    assert table.schema.metadata[b"ecm.transform"].decode() == VV


def test_two_transforms_of_one_space_never_share_a_table() -> None:
    tables = tables_of([embedded("a"), embedded("a", Space.VV, X)], "b1")
    assert {vector_table(Space.VV, VV), vector_table(Space.VV, X)} <= set(tables)


def test_vectors_of_two_dimensions_under_one_transform_are_refused() -> None:
    wrong = embedded("b", vector=vector_of(Space.X, "b"))
    with pytest.raises(ContractError, match="dimension 4"):
        tables_of([embedded("a"), wrong], "b1")


def test_the_same_bytes_at_two_places_are_one_asset_said_once() -> None:
    here = everything("a", "dog")
    there = everything("a", "dog", uri="file:///backup/a.jpg")
    tables = tables_of([*here, *there], "b1")
    assert tables["assets"].num_rows == 1
    assert sorted(tables["asset_versions"]["uri"].to_pylist()) == [
        "file:///backup/a.jpg",
        "file:///photos/a.jpg",
    ]
    alone = tables_of(here, "b1")
    for name in filter(is_evidence_table, tables):
        assert tables[name].equals(alone[name])


def test_a_linked_envelope_gives_a_place_and_nothing_else() -> None:
    linked = envelope("a", linked=True, uri="file:///copy.jpg")
    assert set(tables_of([linked], "b1")) == {"asset_versions"}


def test_a_failure_leaves_no_evidence_so_that_a_later_success_is_not_hidden() -> None:
    outputs = Outputs(tags=(LabelStatement(label="dog"),))
    assert set(tables_of([failed("a", outputs=outputs)], "b1")) == {"asset_versions"}
    unread = failed("b", content=None)
    assert tables_of([unread], "b1") == {}
    with pytest.raises(ContractError, match="no content hash"):
        key_of(unread)


def test_a_success_replaces_what_was_said_in_part() -> None:
    part = vision("a", "", ("cat",), status=EnvelopeStatus.PARTIAL, error=PARTIAL)
    whole = vision("a", "", ("dog",))
    for order in ([part, whole], [whole, part]):
        text = tables_of(order, "b1")["evidence_text"]
        assert set(text["text"].to_pylist()) == {"dog"}
    assert tables_of([part], "b1")["evidence_text"]["text"].to_pylist()[0] == "cat"


@pytest.mark.parametrize(
    ("silent", "kind"),
    [(ocr("a"), "ocr"), (vision("a"), "caption"), (envelope("a", "mv_embed"), "nothing")],
)
def test_a_task_with_nothing_to_say_still_leaves_a_row(silent: ResultEnvelope, kind: str) -> None:
    rows = tables_of([silent], "b1")["evidence_text"].to_pylist()
    assert [(row["kind"], row["text"]) for row in rows] == [(kind, "")]


def test_measures_are_kept_by_name() -> None:
    said = Outputs(measures={"sharpness": 0.5, "brightness": 0.25})
    rows = tables_of([envelope("a", outputs=said)], "b1")["evidence_measures"]
    assert rows.select(["name", "value"]).to_pylist() == [
        {"name": "brightness", "value": 0.25},
        {"name": "sharpness", "value": 0.5},
    ]


def _any_envelope(draw: st.DrawFn) -> ResultEnvelope:
    seed, tenant = draw(st.integers(0, 3)), draw(st.sampled_from(["t", "u"]))
    place = f"file:///{draw(st.integers(0, 2))}/{seed}.jpg"
    where = {"tenant": tenant, "uri": place}
    make = draw(
        st.sampled_from(
            [
                lambda: vision(seed, "", ("dog", "cat"), **where),
                lambda: vision(seed, "", (), **where),
                lambda: ocr(seed, "stop", **where),
                lambda: ocr(seed, **where),
                lambda: embedded(seed, **where),
                lambda: envelope(seed, linked=True, **where),
                lambda: failed(seed, **where),
                lambda: failed(seed, content=None, **where),
            ]
        )
    )
    return make()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.composite(_any_envelope)(), max_size=14))
def test_every_answered_task_is_in_the_tables_and_no_row_twice(batch: list[ResultEnvelope]) -> None:
    tables = tables_of(batch, "b1")
    answered = {key_of(e) for e in batch if not e.linked and e.status is not EnvelopeStatus.FAILED}
    stored: set[str] = set()
    for name, table in tables.items():
        assert table.num_rows > 0
        unique = "evidence_id" if is_evidence_table(name) else key_column(name)
        assert pc.count_distinct(table[unique]).as_py() == table.num_rows
        if is_evidence_table(name):
            stored.update(table["evidence_key"].to_pylist())
    assert stored == answered
    places = {(e.tenant_id, e.resource_fingerprint.uri) for e in batch if _was_read(e)}
    versions = tables.get("asset_versions")
    assert places == (
        set(zip(*(versions[c].to_pylist() for c in ("tenant_id", "uri")), strict=True))
        if versions
        else set()
    )


def _was_read(e: ResultEnvelope) -> bool:
    return e.resource_fingerprint.content_hash is not None
