"""Searching words: phrases, edits, what must be absent, filters; and what each column said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import lance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.search import Axis
from ecm.errors import ContractError
from ecm.evidence.allowed import Allowed
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import LATER_TEXT_COLUMNS, SnapshotRef
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.evidence.text_query import MAX_TERMS, TextQuery, terms_of
from tests.evidence_envelopes import OCR, START, VISION, content_of, ocr, vision

EVEN = {"caption": 1.0, "tags": 1.0, "classification": 1.0, "ocr": 1.0, "name": 1.0}
SAID: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "a": ("a red car on the beach", ("sports car",)),
    "b": ("the car is red", ("garage",)),
    "c": ("two dogs running on the beach", ("golden retriever", "beach")),
    "d": ("a golden beach", ("sea", "retriever")),
    "e": ("a house by the sea", ("castle",)),
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[EvidenceStore, SnapshotRef]:
    batch = [vision(seed, caption, tags) for seed, (caption, tags) in SAID.items()]
    batch += [ocr("e", "NO DOGS ALLOWED"), vision("f", "a red car on the beach", tenant="u")]
    folder = tmp_path_factory.mktemp("words") / "store"
    store = EvidenceStore.create(EvidenceConfig(uri=str(folder)), START)
    EvidenceCommitter(store).append("b1", batch)
    policy = SnapshotPolicy(transforms={Axis.FTS: (VISION, OCR)})
    return store, SnapshotStore(store).build(policy, START)


@pytest.fixture(scope="module")
def words(opened: tuple[EvidenceStore, SnapshotRef]) -> SnapshotReader:
    return SnapshotReader.open(*opened)


def _found(reader: SnapshotReader, query: TextQuery, allowed: Allowed | None = None) -> str:
    hits = reader.search_text("t", query, EVEN, 10, allowed=allowed)
    seeds = {content_of(seed): seed for seed in SAID}
    return "".join(sorted(seeds[asset_id] for asset_id, _ in hits))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (TextQuery(("red",), ("red car",)), "a"),
        (TextQuery((), ("car is red",)), "b"),
        (TextQuery((), ("running on the beach",)), "c"),
        (TextQuery((), ("golden retriever",)), "c"),  # not one word here, the other there
        (TextQuery(("beach",), ("dogs", "golden")), "c"),
        (TextQuery(("beach",), ("Sports-CAR!",)), "a"),
        (TextQuery(("beach",), ("the",)), ""),
        (TextQuery(("beach",), without=("car",)), "cd"),
        (TextQuery(("beach", "sea"), without=("dog",)), "ad"),
        (TextQuery(("beach",), without=("golden retriever", "zebra")), "ad"),
        (TextQuery(("beach",), without=("red beach",)), "acd"),
        (TextQuery(("beach",), without=("the", "!")), "acd"),
        (TextQuery((), without=("car",)), ""),
        (TextQuery(("baech",)), ""),
        (TextQuery(("beahc",), fuzziness=2), ""),  # of five letters one edit is enough
        (TextQuery(("bech",), fuzziness=1), "acd"),
        (TextQuery(("retrievrs",), fuzziness=2), "cd"),
        (TextQuery(("cr",), fuzziness=2), ""),
        (TextQuery(("caxtle",), fuzziness=1), "e"),
    ],
)
def test_a_question_finds_its_assets(words: SnapshotReader, query: TextQuery, found: str) -> None:
    assert _found(words, query) == found
    few = Allowed([content_of("a"), content_of("d"), content_of("nowhere")])
    assert _found(words, query, few) == "".join(seed for seed in found if seed in "ad")
    assert _found(words, query, Allowed([])) == ""


def test_words_that_share_a_stem_count_once(words: SnapshotReader) -> None:
    once = words.search_text("t", "dog", EVEN, 10)
    assert words.search_text("t", TextQuery(("dog", "dogs", "Dog's"), ("dogs",)), EVEN, 10) == [
        pair for pair in once if pair[0] in (content_of("c"), content_of("e"))
    ]
    assert [term.stem for term in terms_of(["Running runs", "RUN the café"])] == ["run", "cafe"]
    assert len(terms_of(f"word{n}" for n in range(1000))) == MAX_TERMS
    with pytest.raises(ContractError, match="fuzziness"):
        TextQuery(("dog",), fuzziness=3)


def test_a_word_itself_is_worth_more_than_one_like_it(words: SnapshotReader) -> None:
    exact = dict(words.search_text("t", "castle", {"tags": 1.0}, 5))
    fuzzy = dict(words.search_text("t", TextQuery(("castle",), fuzziness=1), {"tags": 1.0}, 5))
    like = dict(words.search_text("t", TextQuery(("caxtle",), fuzziness=1), {"tags": 1.0}, 5))
    asset = content_of("e")
    assert fuzzy[asset] == pytest.approx(1.5 * exact[asset], abs=1e-5)
    assert like[asset] == pytest.approx(0.5 * exact[asset], abs=1e-5)


_WORD = st.sampled_from(
    ["car", "beach", "red", "dog", "dogs", "golden", "retriever", "sea", "castle", "the", "zebra"]
)
_QUERY = st.builds(
    TextQuery,
    st.lists(_WORD, max_size=4).map(tuple),
    st.lists(st.lists(_WORD, min_size=1, max_size=2).map(" ".join), max_size=1).map(tuple),
    st.lists(_WORD, max_size=1).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(
    _QUERY,
    st.dictionaries(st.sampled_from(sorted(EVEN)), st.sampled_from([0.5, 1.0, 3.0]), min_size=1),
    st.sets(st.sampled_from("abcdef")),
    st.integers(1, 5),
)
def test_every_way_gives_the_same_numbers(
    words: SnapshotReader, query: TextQuery, boosts: dict[str, float], some: set[str], limit: int
) -> None:
    everything = words.search_text("t", query, boosts, 100)
    assert everything == sorted(everything, key=lambda pair: (-pair[1], pair[0]))
    assert words.search_text("t", query, boosts, limit) == everything[:limit]
    ids = [content_of(seed) for seed in some]
    inside = [pair for pair in everything if pair[0] in ids]
    assert words.search_text("t", query, boosts, limit, allowed=Allowed(ids)) == inside[:limit]
    assert words.search_text("t", query, boosts, 100, among=ids) == inside
    fields = words.field_scores("t", query, list(boosts), [asset_id for asset_id, _ in everything])
    for asset_id, score in everything:
        summed = sum(boost * fields[c].get(asset_id, 0.0) for c, boost in boosts.items())
        assert summed == pytest.approx(score, abs=1e-5)


_ANYTHING = st.text(max_size=30) | st.sampled_from(
    ["\x00", "'; DROP TABLE x; --", '") or true or ("', "caption:*", "~2", "dog^9", "\u0130", "ﬁre"]
)


@settings(max_examples=150, deadline=None)
@given(
    st.builds(
        TextQuery,
        st.lists(_ANYTHING, max_size=3).map(tuple),
        st.lists(_ANYTHING, max_size=2).map(tuple),
        st.lists(_ANYTHING, max_size=2).map(tuple),
        st.integers(0, 2),
    )
)
def test_any_text_is_only_words(words: SnapshotReader, query: TextQuery) -> None:
    found = words.search_text("t", query, EVEN, 10)
    assert {asset_id for asset_id, _ in found} <= {content_of(seed) for seed in SAID}
    assert all(score > 0 for _, score in found)
    plain = replace(query, phrases=(), without=())
    if not query.phrases:
        assert set(found) <= set(words.search_text("t", plain, EVEN, 10))


def test_what_assets_say_can_be_asked_alone(words: SnapshotReader) -> None:
    assert words.saying("t", ["red car", "castle"]) == {content_of("a"), content_of("e")}
    assert words.saying("t", ["dogs"]) == {content_of("c"), content_of("e")}
    assert words.saying("t", []) == words.saying("t", ["the"]) == frozenset()
    assert words.saying("nobody", ["red car"]) == frozenset()
    assert words.field_scores("t", "red", ["tags"], [content_of("f")]) == {"tags": {}}


def test_columns_of_later_releases_are_left_out_where_there_are_none(
    opened: tuple[EvidenceStore, SnapshotRef],
) -> None:
    store, ref = opened
    boosts = {**EVEN, **dict.fromkeys(LATER_TEXT_COLUMNS, 1.0)}
    now = SnapshotReader.open(store, ref)
    table = store.open_lance(ref.table, ref.version)
    later = [column for column in LATER_TEXT_COLUMNS if column in table.schema.names]
    before = dict(now.search_text("t", "red car", EVEN, 10))
    if later:
        table = lance.dataset(store.storage.location(ref.table))
        table.drop_columns(later)
        version = int(lance.dataset(table.uri).version)
        older = SnapshotReader.open(store, ref.model_copy(update={"version": version}))
        assert dict(older.search_text("t", "red car", boosts, 10)) == before
        assert older.field_scores("t", "red", ["user"], list(before)) == {"user": {}}
