"""Searches become queries without anything of anybody in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.feedback import StoredEvent
from ecm.evaluation.datasets.log_words import anonymous, log_drafts

AT = 1_790_000_000.0


def searched(text: str | None, unit: int | None, number: int = 0) -> StoredEvent:
    return StoredEvent.model_validate(
        {
            "tenant_id": "t",
            "event_id": f"event-{text}-{unit}-{number}"[:100].encode().hex()[:64].ljust(8, "0"),
            "kind": "impression",
            "at": AT,
            "query_id": "q-1",
            "unit": None if unit is None else f"{unit:032x}",
            "snapshot_id": "s-1",
            "ranking": "0123456789abcdef",
            "query": text,
            "shown": [{"asset_id": "a" * 64, "rank": 1}],
        }
    )


def by(units: int, text: str) -> list[StoredEvent]:
    return [searched(text, unit) for unit in range(units)]


def test_only_what_several_people_asked_for_is_used() -> None:
    events = [
        *by(3, "sleeping cat"),
        *by(1, "Sleeping  CAT!"),  # the same words, by one who is counted already
        *by(2, "my aunt"),
        *(searched("my secret", 1, number) for number in range(50)),
        *(searched("nobody knows", None, number) for number in range(50)),
    ]
    found = anonymous(events)
    assert found.texts == ("sleeping cat",)
    assert found.left["asked by fewer than 3 units"] == 3
    assert found.left["searches without a unit"] == 50
    assert anonymous(events, 2).texts == ("my aunt", "sleeping cat")
    [draft] = log_drafts(found, "en")
    assert (draft.text, draft.answers) == ("sleeping cat", ())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("photos of jane@example.org", "an address"),
        ("jane at example dot org", "an address"),
        ("https://example.org/me", "a link"),
        ("www.example", "a link"),
        ("holiday example.com", "a link"),
        ("call 0171 234 5678", "a long number"),
        ("passport 1-2-3-4-5", "a long number"),
        ("x" * 33, "a long token"),
        ("word " * 41, "a long text"),
    ],
)
def test_what_may_tell_who_asked_is_left_out_however_many_did(text: str, why: str) -> None:
    found = anonymous(by(10, text))
    assert found.texts == ()
    assert found.left == {why: 1}


def test_years_and_short_numbers_are_no_secret() -> None:
    assert anonymous(by(3, "summer 2023")).texts == ("summer 2023",)


def test_one_unit_is_never_enough() -> None:
    with pytest.raises(ValueError, match="fewer than two"):
        anonymous([], 1)


@given(
    st.lists(st.tuples(st.sampled_from(["a dog", "A DOG", "cat", "sea"]), st.integers(0, 4))),
    st.integers(2, 4),
)
def test_every_text_was_asked_by_enough_units(asked: list[tuple[str, int]], least: int) -> None:
    found = anonymous([searched(text, unit) for text, unit in asked], least)
    units: dict[str, set[int]] = {}
    for text, unit in asked:
        units.setdefault(text.casefold(), set()).add(unit)
    assert found.texts == tuple(sorted(text for text, by in units.items() if len(by) >= least))
