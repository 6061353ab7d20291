"""What comes in at the door as a filter: bounded, typed, and refused in one line."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ecm.contracts.filters import (
    FIELDS,
    MAX_ALL_VALUES,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_NODES,
    Filter,
)

WIDE = {"field": "width", "gte": 1}


def _nested(levels: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(levels - 1):
        tree = {"must_not": [tree]}
    return tree


def _refused(value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Filter.model_validate(value)
    message = str(caught.value.errors()[0]["msg"])
    assert "\n" not in message
    assert len(message) < 300
    return message


def test_the_bounds_are_reached_but_not_passed() -> None:
    labels = [f"l{n}" for n in range(256)]
    many = MAX_ALL_VALUES // 256
    within = [
        _nested(MAX_DEPTH),
        {"must": [WIDE] * MAX_CONDITIONS},
        {"should": [{}] * (MAX_NODES - 1)},
        {"must": [{"field": "tags", "any": labels}] * many},
    ]
    for tree in within:
        assert Filter.model_validate(tree).model_dump(exclude_defaults=True)
    assert "groups deep" in _refused(_nested(MAX_DEPTH + 1))
    assert "conditions" in _refused({"must": [WIDE] * (MAX_CONDITIONS + 1)})
    assert "together" in _refused({"should": [{"must": [{}] * 60}, {"must": [{}] * 80}]})
    spread = {"should": [{"must": [WIDE] * 40}, {"must_not": [WIDE] * 40}]}
    assert "conditions" in _refused(spread)
    full = [{"field": "tags", "any": labels}] * many
    assert "values" in _refused({"must": [*full, {"field": "run", "any": ["r"]}]})


@pytest.mark.parametrize("levels", [6, 60, 240, 300, 900])
def test_deep_values_are_refused_at_the_top_not_followed(levels: int) -> None:
    with pytest.raises(ValidationError) as caught:
        Filter.model_validate(_nested(levels))
    assert caught.value.errors()[0]["loc"] == ()
    assert "groups deep" in _refused(_nested(levels))


def test_groups_put_together_from_groups_are_bounded_too() -> None:
    tree = Filter()
    for _ in range(MAX_DEPTH - 1):
        tree = Filter(should=(tree,))
    with pytest.raises(ValidationError, match="groups deep"):
        Filter(must=(tree,))


@pytest.mark.parametrize("levels", [60, 250, 100_000])
def test_deep_json_is_refused_not_followed(levels: int) -> None:
    with pytest.raises(ValidationError):
        Filter.model_validate_json('{"must":[' * levels + "{}" + "]}" * levels)


@pytest.mark.parametrize(
    "condition",
    [
        {"field": "evidence_id", "any": ["x"]},
        {"field": "x" * 10_000},
        {"field": "tags\n"},
        {"field": ["tags"], "any": ["dog"]},
        {"field": None},
        {"field": "tags"},
        {"field": "tags", "any": "dog"},
        {"field": "tags", "any": [""]},
        {"field": "tags", "any": ["x" * 201]},
        {"field": "tags", "any": ["\ud800"]},
        {"field": "tags", "any": ["dog"], "min_confidence": 1.1},
        {"field": "tags", "any": ["dog"], "sql": "1"},
        {"field": "tags", "any": ["dog"], "must": []},
        {"field": "colours", "any": ["crimson"]},
        {"field": "colours", "all": ["red"], "min_share": 0},
        {"field": "orientation", "any": []},
        {"field": "width"},
        {"field": "width", "gte": "100"},
        {"field": "width", "gte": True},
        {"field": "width", "gte": float("inf")},
        {"field": "width", "gte": 10**400},
        {"field": "taken", "gte": 1_700_000_000},
        {"field": "taken", "gte": "1700000000"},
        {"field": "taken", "gte": "1700000000.5"},
        {"field": "taken", "gte": "yesterday"},
        {"field": "taken", "lte": "2020-01-01"},
        {"field": "path", "prefix": ""},
        {"field": "path", "prefix": "\udcff"},
        {"field": "asset", "any": ["0"]},
        {"field": "has", "value": "wings"},
        "width > 100",
        None,
        [],
        5,
    ],
    ids=lambda c: repr(c)[:40],
)
@pytest.mark.parametrize("how", ["must", "should", "must_not"])
def test_what_is_no_condition_is_refused_in_one_line(condition: object, how: str) -> None:
    _refused({how: [condition]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["must", "should", "must_not", "field", "any", "gte", "value", "prefix"]
            ),
            inner | st.sampled_from(FIELDS),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_no_json_is_answered_with_anything_but_a_filter_or_a_refusal(value: object) -> None:
    for read, given_value in (
        (Filter.model_validate, value),
        (Filter.model_validate_json, json.dumps(value)),
    ):
        with suppress(ValidationError):
            tree = read(given_value)  # type: ignore[operator]
            assert Filter.model_validate_json(tree.model_dump_json()) == tree
