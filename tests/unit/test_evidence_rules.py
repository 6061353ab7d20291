"""The rules of evidence: what is refused as wrong, what is put right, and what stays as it is."""

from __future__ import annotations

import base64
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ecm.contracts.identity import evidence_id
from ecm.contracts.result import (
    NORM_TOLERANCE,
    EnvelopeStatus,
    LabelStatement,
    Outputs,
    ResourceFingerprint,
    ResultEnvelope,
    Space,
    Telemetry,
    TextStatement,
    VectorStatement,
)
from ecm.contracts.tidy import tidy_line
from ecm.errors import ContractError
from ecm.evidence.codec import key_of, tables_of
from tests.evidence_envelopes import VV, embedded, envelope, failed, ocr, vision

NOT_CONFIDENCES = [-0.01, 1.01, float("nan"), float("inf"), True, "0.9", b"1"]
DIRTY = st.text(
    st.sampled_from("ab e\u0301\u200b\u202e\x00\x1b\n\t ­\ufeff\ufdd0")
    | st.characters(codec="utf-8"),
    min_size=1,
    max_size=30,
)


@pytest.mark.parametrize("value", NOT_CONFIDENCES)
def test_what_is_no_confidence_is_not_made_one(value: Any) -> None:
    with pytest.raises(ValidationError):
        TextStatement(text="a dog", confidence=value)
    with pytest.raises(ValidationError):
        LabelStatement(label="dog", confidence=value)


@settings(deadline=None)
@given(st.none() | st.floats(0, 1))
def test_a_confidence_is_kept_as_it_is_and_its_absence_too(confidence: float | None) -> None:
    said = Outputs(tags=(LabelStatement(label="dog", confidence=confidence),))
    rows = tables_of([envelope("a", outputs=said)], "b1")["evidence_text"]
    assert rows["confidence"].to_pylist() == [confidence]


@settings(deadline=None)
@given(st.integers(1, 64), st.floats(-0.01, 0.01), st.integers(0, 99))
def test_a_vector_is_of_unit_length_within_the_tolerance(dim: int, off: float, seed: int) -> None:
    raw = np.random.default_rng(seed).normal(size=dim)
    values = (raw / np.linalg.norm(raw) * (1 + off)).astype(np.float32)
    if abs(off) < NORM_TOLERANCE * 0.9:
        said = VectorStatement.of(Space.VV, values)
        assert said.to_numpy().tobytes() == values.tobytes()
    elif abs(off) > NORM_TOLERANCE * 1.1:
        with pytest.raises(ValidationError, match="not L2-normalised"):
            VectorStatement.of(Space.VV, values)


@pytest.mark.parametrize("norm", [0.0, -1.0, float("nan"), float("inf")])
def test_a_vector_without_a_length_before_is_refused(norm: float) -> None:
    with pytest.raises(ValidationError):
        VectorStatement.of(Space.VV, np.array([1.0], np.float32), norm)


@pytest.mark.parametrize(
    "wrong",
    [
        {"outputs": {"measures": {"sharpness": float("nan")}}},
        {"outputs": {"measures": {"sharpness; --": 1.0}}},
        {"outputs": {"measures": {f"m{i}": 1.0 for i in range(257)}}},
        {"observed_at": float("nan")},
        {"observed_at": float("inf")},
        {"observed_at": -1.0},
    ],
)
def test_numbers_that_would_spoil_a_table_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, ValueError)):
        envelope("a", **{k: Outputs(**v) if k == "outputs" else v for k, v in wrong.items()})
    with pytest.raises(ValidationError):
        Telemetry(latency_ms={"read_ms": float("nan")})


@settings(deadline=None)
@given(caption=DIRTY, tags=st.lists(DIRTY, max_size=4), lines=st.lists(DIRTY, max_size=3))
def test_texts_are_stored_tidy_and_keep_their_ids(
    caption: str, tags: list[str], lines: list[str]
) -> None:
    said = Outputs(
        caption=TextStatement(text=caption),
        tags=tuple(LabelStatement(label=tag) for tag in tags),
        ocr=tuple(TextStatement(text=line) for line in lines),
    )
    sealed = envelope("a", outputs=said)
    again = ResultEnvelope.model_validate_json(sealed.model_dump_json(by_alias=True))
    rows = tables_of([again], "b1")["evidence_text"].to_pylist()
    for row in rows:
        assert unicodedata.is_normalized("NFC", row["text"])
        assert not set(row["text"]) & set("\u200b\u202e\x00\x1b\t\ufeff\xad\ufdd0")
        assert row["evidence_id"] == evidence_id(key_of(sealed), row["kind"], row["ordinal"])
        if row["kind"] == "tag":
            assert row["text"] == tidy_line(tags[row["ordinal"]], 200) != ""
    stated = [tidy_line(text, 20_000) for text in (caption, *tags, *lines)]
    assert len(rows) == max(1, sum(bool(text) for text in stated))


def test_nothing_but_dirt_is_nothing_said() -> None:
    dirt = "\u200b\x00 \ufeff"
    said = Outputs(caption=TextStatement(text=dirt), tags=(LabelStatement(label=dirt),))
    (row,) = tables_of([envelope("a", outputs=said)], "b1")["evidence_text"].to_pylist()
    assert (row["kind"], row["text"], row["confidence"]) == ("caption", "", None)
    assert row == tables_of([vision("a")], "b1")["evidence_text"].to_pylist()[0]


def test_a_text_that_no_encoding_holds_is_refused() -> None:
    with pytest.raises(ValidationError):
        LabelStatement(label="dog \ud83d")
    assert LabelStatement(label=tidy_line("dog \ud83d", 200)).label == "dog \ufffd"


def test_two_fingerprints_that_begin_alike_do_not_share_a_table() -> None:
    twin = VV[:12] + "f" * 52
    with pytest.raises(ContractError, match="begin alike") as caught:
        tables_of([embedded("a"), embedded("b", transform=twin)], "b1")
    assert caught.value.code == "contract.collision"


def test_what_failed_states_nothing_and_tells_what_was_read() -> None:
    tables = tables_of([failed("a")], "b1")
    assert set(tables) == {"asset_versions"}
    unread = ResourceFingerprint(uri="file:///a.jpg", content_hash=None, size=0)
    assert tables_of([failed("a", resource_fingerprint=unread)], "b1") == {}


def test_a_partial_result_states_what_it_has() -> None:
    error = failed("a").error
    said = Outputs(tags=(LabelStatement(label="dog", confidence=0.5),))
    cut = envelope("a", outputs=said, status=EnvelopeStatus.PARTIAL, error=error)
    tables = tables_of([cut], "b1")
    assert tables["evidence_text"]["text"].to_pylist() == ["dog"]
    assert set(tables) == {"assets", "asset_versions", "evidence_text"}


def test_ids_are_those_of_every_release_so_far() -> None:
    said = [vision("a", "a dog", ("dog", "cat")), ocr("a", "STOP"), embedded("a")]
    said.append(envelope("b", outputs=Outputs(measures={"sharpness": 0.5})))
    tables = tables_of(said, "b1")
    assert tables["evidence_text"]["evidence_id"].to_pylist() == [
        "229579e752cdc23aca77fde145612404",
        "6174f3f2a5ad5b102b66fcb957ce2d4f",
        "2edb9727c2019a40ffcc85acb1797e3f",
        "909a2d8d82a46576ccc7cd22f6b3b0dd",
        "b80df57d6b9b7dc6b16bb62738faa3db",
    ]
    vectors = tables[f"evidence_vectors_vv_{VV[:12]}"]
    assert vectors["evidence_id"].to_pylist() == ["503ec8673a96d4b244439ec5fd74943b"]
    measures = tables["evidence_measures"]["evidence_id"].to_pylist()
    assert measures == ["9702969a1b3ab6e4348da46ba1a95cdf"]
    assert sorted(tables["assets"]["asset_key"].to_pylist()) == [
        "27b478d46965d2293053df11b8ad0f0c9020d9587256f482136726a6cbaf2165",
        "dacd515d121dd19f385472eadebb0cb3526798822d072081e6247d17852f0d08",
    ]
    assert sorted(tables["asset_versions"]["version_id"].to_pylist()) == [
        "063eeb577c4b3123e0d76547063af458acc8c50f86eaed14b37e33845e31c49a",
        "eb188f0a1058c2815940289515a994ed8840ab55dcdfba7766d970c505607e0a",
    ]


def test_a_thumbnail_is_kept_to_the_byte() -> None:
    said = Outputs(thumbnail=base64.b64encode(b"\xff\xd8\x00"))
    tables = tables_of([envelope("a", outputs=said)], "b1")
    assert tables["thumbnails"]["jpeg"].to_pylist() == [b"\xff\xd8\x00"]
