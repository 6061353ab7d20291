"""The contracts: JSON round trips, refusals, published schemas, and the laws of identity."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ecm.contracts.identity import (
    ContentIdentity,
    Contract,
    KeyDigest,
    asset_id_of,
    canonical_json,
    dedupe_key,
    digest,
    evidence_id,
    evidence_key,
    path_uri,
    uri_path,
)
from ecm.contracts.result import (
    EnvelopeError,
    EnvelopeStatus,
    ErrorClass,
    ImageFacts,
    LabelStatement,
    Outputs,
    ResourceFingerprint,
    ResultEnvelope,
    Space,
    Telemetry,
    TextStatement,
    VectorStatement,
)
from ecm.contracts.search import (
    Axis,
    AxisScore,
    Contribution,
    Degradation,
    EvidenceRef,
    Hit,
    LostReason,
    QueryType,
    RankingUsed,
    SearchRequest,
    SearchResponse,
    Understood,
)
from ecm.contracts.task import ClassPolicy, ModelSpec, ResourceRef, RetryPolicy, TaskSpec, TaskType
from jobs.schemas import PUBLIC, published

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"

digests = st.binary(min_size=1, max_size=8).map(asset_id_of)
tenants = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,20}\Z")
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
names = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,20}\Z")
confidences = st.none() | st.floats(0, 1)
times = st.floats(0, 4e9)
paths = st.binary(min_size=1, max_size=40).filter(lambda raw: b"\0" not in raw).map(b"/".__add__)


@st.composite
def identities(draw: st.DrawFn) -> ContentIdentity:
    marks: dict[str, Any] = draw(
        st.fixed_dictionaries({"mtime_ns": st.integers(0, 2**62)})
        | st.fixed_dictionaries({"etag": words})
    )
    return ContentIdentity(uri=path_uri(draw(paths)), size=draw(st.integers(0, 2**50)), **marks)


@st.composite
def tasks(draw: st.DrawFn) -> TaskSpec:
    return TaskSpec.create(
        tenant_id=draw(tenants),
        job_id=draw(words),
        identity=draw(identities()),
        task_type=draw(st.sampled_from(TaskType)),
        model=ModelSpec(backend="fake", model_id=draw(words), revision="1"),
        transform=draw(digests),
        priority=draw(st.integers(-100, 100)),
        deadline_at=draw(st.none() | times),
        retry_policy=draw(
            st.none()
            | st.builds(
                RetryPolicy,
                network=st.builds(ClassPolicy, max_attempts=st.integers(1, 100)),
            )
        ),
    )


@st.composite
def unit_vectors(draw: st.DrawFn) -> VectorStatement:
    values = np.array(
        draw(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8)), np.float64
    )
    norm = float(np.linalg.norm(values))
    if norm < 1e-3:
        values, norm = np.ones(len(values)), float(np.sqrt(len(values)))
    unit = (values / norm).astype(np.float32)
    return VectorStatement.of(draw(st.sampled_from(Space)), unit, norm)


texts = st.builds(TextStatement, text=words, confidence=confidences, composed=st.booleans())
labels = st.builds(LabelStatement, label=words, confidence=confidences, scheme=st.just("imagenet"))
outputs = st.builds(
    Outputs,
    caption=st.none() | texts,
    tags=st.lists(labels, max_size=3).map(tuple),
    ocr=st.lists(texts, max_size=2).map(tuple),
    vectors=st.lists(unit_vectors(), max_size=2).map(tuple),
    measures=st.dictionaries(names, st.floats(-1e6, 1e6), max_size=2),
    thumbnail=st.none() | st.binary(max_size=20).map(base64.b64encode),
)


@st.composite
def envelopes(draw: st.DrawFn) -> ResultEnvelope:
    status = draw(st.sampled_from(EnvelopeStatus))
    cause = EnvelopeError(
        error_class=draw(st.sampled_from(ErrorClass)), code="x", stage="decode", message="no"
    )
    return ResultEnvelope.seal(
        tenant_id=draw(tenants),
        task_id=draw(digests),
        task_type="vision",
        transform=draw(digests),
        run_id="run",
        worker_id="worker",
        attempt=draw(st.integers(1, 9)),
        fence=draw(st.integers(0, 9)),
        resource_fingerprint=ResourceFingerprint(
            uri="file:///a.jpg", content_hash=draw(digests), size=3, mtime_ns=1
        ),
        image=draw(st.none() | st.just(ImageFacts(width=3, height=2, format="jpeg"))),
        outputs=draw(outputs),
        telemetry=Telemetry(latency_ms={"decode": draw(st.floats(0, 1e6))}),
        status=status,
        error=None if status is EnvelopeStatus.SUCCESS else cause,
        observed_at=draw(times),
    )


requests = st.builds(
    SearchRequest,
    tenant_id=tenants,
    text=words.filter(lambda text: bool(text.strip())),
    image=st.none() | st.binary(min_size=1, max_size=20).map(base64.b64encode),
    limit=st.integers(1, 200),
    require=st.lists(st.sampled_from(Axis), max_size=2).map(tuple),
)

hits = st.builds(
    Hit,
    rank=st.integers(1, 50),
    asset_id=digests,
    score=st.floats(-10, 10),
    uris=st.just(("file:///a.jpg",)),
    axes=st.dictionaries(
        st.sampled_from(Axis),
        st.builds(AxisScore, rank=st.none() | st.integers(1, 500), score=st.floats(-1, 1)),
    ),
    contributions=st.just((Contribution(feature="rrf_vv", value=0.5),)),
    caption=st.none() | words,
    tags=st.lists(words, max_size=2).map(tuple),
    evidence=st.lists(
        st.builds(
            EvidenceRef,
            evidence_id=words,
            kind=st.just("tag"),
            run_id=words,
            transform=digests,
            confidence=confidences,
        ),
        max_size=2,
    ).map(tuple),
)

responses = st.builds(
    SearchResponse,
    snapshot_id=words,
    ranking_profile=words,
    query_type=st.sampled_from(QueryType),
    fingerprints=st.dictionaries(st.sampled_from(Axis), digests),
    took_ms=st.floats(0, 1e6),
    degraded=st.just(
        (Degradation(axis=Axis.X, code=LostReason.TIMEOUT, reason="text", effect="none"),)
    ),
    understood=st.builds(
        Understood,
        query_type=st.sampled_from(QueryType),
        confidence=st.floats(0, 1),
        axes=st.just((Axis.VV,)),
        wanted=words,
    ),
    ranking=st.builds(
        RankingUsed,
        version=words,
        digest=digests,
        fusion=st.sampled_from(["rrf", "dbsf"]),
        weights=st.dictionaries(st.sampled_from(Axis), st.floats(0, 9)),
        reranked=st.integers(0, 200),
    ),
    matched=st.integers(0, 900),
    hits=st.lists(hits, max_size=2).map(tuple),
    cursor=st.none() | words,
)

SAMPLES = {
    "task_spec": tasks(),
    "result_envelope": envelopes(),
    "search_request": requests,
    "search_response": responses,
}


@pytest.mark.parametrize("name", sorted(SAMPLES))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_contract_survives_json_and_fits_its_published_schema(
    name: str, data: st.DataObject
) -> None:
    value: Contract = data.draw(SAMPLES[name])
    text = value.model_dump_json(by_alias=True)
    assert type(value).model_validate_json(text) == value
    schema = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))


def test_what_is_published_is_what_the_code_says() -> None:
    written = {path.name: path.read_text("utf-8") for path in SCHEMAS.iterdir()}
    assert written == published(), "a contract or setting changed: `make schemas`, read the diff"


@pytest.mark.parametrize("name", sorted(SAMPLES))
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_unknown_fields_and_other_schema_versions_are_refused(
    name: str, data: st.DataObject
) -> None:
    value: Contract = data.draw(SAMPLES[name])
    good = json.loads(value.model_dump_json(by_alias=True))
    for wrong in ({"surprise": 1}, {"schema_version": 2}, {"schema_version": 0}):
        with pytest.raises(ValidationError):
            PUBLIC[name].model_validate({**good, **wrong})


@settings(max_examples=30, deadline=None)
@given(envelope=envelopes(), text=words)
def test_an_envelope_whose_payload_was_changed_is_refused(
    envelope: ResultEnvelope, text: str
) -> None:
    tree = json.loads(envelope.model_dump_json(by_alias=True))
    said = tree["outputs"]["caption"]
    changed = {"text": text + "!", "confidence": None, "composed": False}
    tree["outputs"]["caption"] = changed if said != changed else None
    with pytest.raises(ValidationError, match="result_checksum"):
        ResultEnvelope.model_validate(tree)


@settings(max_examples=30, deadline=None)
@given(envelope=envelopes(), ms=st.floats(0, 1e6), attempt=st.integers(1, 99))
def test_telemetry_and_attempt_do_not_change_what_was_said(
    envelope: ResultEnvelope, ms: float, attempt: int
) -> None:
    again = envelope.model_copy(
        update={"telemetry": Telemetry(latency_ms={"decode": ms}), "attempt": attempt}
    )
    assert again.payload_checksum() == envelope.result_checksum


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(4),
        np.array([np.nan, 1, 0, 0]),
        np.array([np.inf, 0, 0, 0]),
        np.array([1.0, 1.0]),
        np.array([0.99, 0]),
    ],
)
def test_a_vector_that_is_not_finite_and_of_unit_length_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValidationError):
        VectorStatement.of(Space.VV, values.astype(np.float32))


def test_a_vector_of_another_dimension_than_its_bytes_is_refused() -> None:
    good = VectorStatement.of(Space.MV, np.array([0.6, 0.8], np.float32))
    with pytest.raises(ValidationError, match="float32"):
        VectorStatement(space=Space.MV, dim=3, data=base64.b64encode(good.data), norm=1.0)
    np.testing.assert_array_equal(good.to_numpy(), np.array([0.6, 0.8], np.float32))


@given(raw=paths)
def test_any_path_a_file_system_allows_survives_its_uri(raw: bytes) -> None:
    uri = path_uri(raw)
    assert uri.isascii()
    assert os.fsencode(uri_path(uri)) == raw
    assert ResourceRef.from_uri(uri).uri == uri


@given(identity=identities(), other=identities(), tenant=tenants, transform=digests)
def test_the_same_work_has_one_key_and_other_work_another(
    identity: ContentIdentity, other: ContentIdentity, tenant: str, transform: str
) -> None:
    key = dedupe_key(tenant, identity.key(), transform, "vision")
    assert key == dedupe_key(tenant, identity.model_copy().key(), transform, "vision")
    others = {
        dedupe_key(tenant + "x", identity.key(), transform, "vision"),
        dedupe_key(tenant, identity.key(), digest([transform]), "vision"),
        dedupe_key(tenant, identity.key(), transform, "ocr"),
        evidence_key(tenant, identity.key(), "vision", transform),
    }
    assert key not in others
    assert len(others) == 4
    assert (identity == other) == (identity.key() == other.key())


@given(pairs=st.lists(st.tuples(words, st.integers(-9, 9)), unique_by=lambda pair: pair[0]))
def test_the_order_of_keys_does_not_change_a_digest(pairs: list[tuple[str, int]]) -> None:
    assert canonical_json(dict(pairs)) == canonical_json(dict(reversed(pairs)))
    assert digest(dict(pairs)) == digest(dict(reversed(pairs)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1, float("-inf")]])
def test_numbers_that_json_does_not_have_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


@given(keys=st.lists(digests, max_size=12), extra=digests, data=st.data())
def test_a_key_digest_is_order_free_counts_multiples_and_adds_up(
    keys: list[str], extra: str, data: st.DataObject
) -> None:
    whole = KeyDigest(keys)
    cut = data.draw(st.integers(0, len(keys)))
    shuffled = data.draw(st.permutations(keys))
    assert KeyDigest(shuffled) == whole
    assert KeyDigest(keys[:cut]) + KeyDigest(keys[cut:]) == whole
    assert KeyDigest.parse(str(whole), whole.count) == whole
    assert KeyDigest([*keys, extra]) != whole
    assert KeyDigest([*keys, extra, extra]) != KeyDigest([*keys, extra])


def test_evidence_ids_differ_by_kind_and_place() -> None:
    key = evidence_key("t", asset_id_of(b"a"), "vision", digest("model"))
    ids = {evidence_id(key, kind, n) for kind in ("tag", "caption") for n in range(3)}
    assert len(ids) == 6


@given(st.lists(st.text() | st.from_regex(r"[a-z0-9_.-]+", fullmatch=True), min_size=4, max_size=4))
def test_keys_are_digests_of_canonical_json_whatever_the_words(words: list[str]) -> None:
    tenant, asset, kind, transform = words
    assert evidence_key(*words) == digest(["evidence", tenant, asset, kind, transform])
    assert evidence_id(asset, kind, 7) == digest(["row", asset, kind, 7])[:32]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"text": "  "},
        {"image": b""},
        {"image": base64.b64encode(b"a"), "asset_id": asset_id_of(b"a")},
        {"text": "x" * 2001},
        {"text": "cat", "limit": 0},
        {"text": "cat", "tenant_id": "a/b"},
    ],
)
def test_a_search_that_asks_nothing_or_too_much_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SearchRequest(**{"tenant_id": "t", **fields})


def test_a_task_names_exactly_one_resource() -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        ResourceRef(local_path="/a", content_hash=asset_id_of(b"a"))
    with pytest.raises(ValidationError, match="exactly one"):
        ResourceRef()
