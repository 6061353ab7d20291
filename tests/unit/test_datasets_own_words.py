"""Queries from what is stored of assets: names that people type, titles, words in pictures."""

from __future__ import annotations

import pytest

from ecm.contracts.evaluation import LabelSource, QueryKind
from ecm.evaluation.datasets.known import known_asset
from ecm.evaluation.datasets.own_words import evident_captions, evident_things, known_items
from tests.query_sources import asset_of, known_of, row


def named_as(*names: str) -> list[str]:
    """File names that are asked for, of assets with these."""
    rows = [row(n, uris=[f"file:///photos/{n}/{name}"]) for n, name in enumerate(names)]
    found = known_items(known_of([known_asset(each) for each in rows]), "en")
    return [draft.text or "" for draft in found]


def test_names_are_asked_for_that_somebody_would_type_and_that_name_one() -> None:
    assert named_as("holiday in Rome.jpg", "IMG_Anna.png") == [
        "holiday in Rome.jpg",
        "IMG_Anna.png",
    ]
    assert named_as("000123.jpg", "deadbeef01.jpg", "cafe-babe.png", "x1.jpg") == []
    assert named_as("cover.jpg", "cover.jpg", "Cover.JPG") == []
    assert named_as(f"{'long ' * 20}.jpg") == []


@pytest.mark.parametrize(
    ("field", "text", "asked", "weight"),
    [
        ("user", "Anna at the lake\nholiday, lake", "Anna at the lake", 0.9),
        ("user", "lake", None, None),
        ("ocr", "STOP HERE on red signal", "stop here red signal", 0.8),
        ("ocr", "1", None, None),
    ],
)
def test_what_is_written_in_or_on_one_asset_alone_asks_for_it(
    field: str, text: str, asked: str | None, weight: float | None
) -> None:
    rows = [row(0, uris=["file:///0.jpg"], **{field: text}), row(1, uris=["file:///1.jpg"])]
    found = list(known_items(known_of([known_asset(each) for each in rows]), "en"))
    assert [draft.text for draft in found] == ([asked] if asked else [])
    for draft in found:
        assert draft.kind is QueryKind.KNOWN_ITEM
        [answer] = draft.answers
        assert (answer.asset_id, answer.source) == (asset_of(0), LabelSource.WEAK)
        assert answer.weight == weight
    twice = [row(n, uris=[f"file:///{n}.jpg"], **{field: text}) for n in range(2)]
    assert not list(known_items(known_of([known_asset(each) for each in twice]), "en"))


def test_only_what_the_tagger_is_sure_of_is_a_thing() -> None:
    unsure = row(0, classification="cat, dog", tags="cat, cat, cat, dog, animal, animal")
    [thing] = evident_things(known_of([known_asset(unsure)]))
    assert thing.names == ("cat",)


def test_captions_that_were_put_together_from_tags_ask_nothing() -> None:
    composed, written = row(0), row(1, caption="a cat asleep", caption_composed=False)
    assets = known_of([known_asset(composed), known_asset(written)])
    assert [draft.text for draft in evident_captions(assets, "en")] == ["a cat asleep"]
