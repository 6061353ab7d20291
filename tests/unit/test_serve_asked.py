"""The parameters of a search by GET, as a question."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    from serve.api import Failed
    from serve.search_api import Asked


def nested(depth: int) -> dict[str, Any]:
    group: dict[str, Any] = {"must_not": [{"field": "has", "value": "text"}]}
    for _ in range(depth - 1):
        group = {"must": [group]}
    return group


def test_a_tag_beside_a_filter_makes_it_no_deeper() -> None:
    asked = Asked.model_validate({"q": "dog", "tag": ["beach"], "filter": json.dumps(nested(5))})
    narrowed = asked.question().filter
    assert narrowed is not None
    assert len(narrowed.must) == 2
    assert [getattr(one, "all", None) for one in narrowed.must] == [("beach",), None]


def test_tags_and_the_groups_of_a_filter_all_hold() -> None:
    own = {
        "must": [{"field": "width", "gte": 10}],
        "should": [{"field": "format", "any": ["png"]}],
        "must_not": [{"field": "has", "value": "text"}],
    }
    asked = Asked.model_validate({"q": "dog", "tag": ["a", "b"], "filter": json.dumps(own)})
    narrowed = asked.question().filter
    assert narrowed is not None
    assert [len(part) for part in (narrowed.must, narrowed.should, narrowed.must_not)] == [2, 1, 1]


def test_a_filter_that_is_too_deep_is_refused() -> None:
    with pytest.raises((Failed, ValueError), match="5 groups deep"):
        Asked.model_validate({"q": "dog", "filter": json.dumps(nested(6))}).question()
