"""Examples of questions, as the OpenAPI document shows them. Each is one that is answered."""

from typing import Any

ASSET = "0" * 64
FILTER = {
    "must": [
        {"field": "tags", "any": ["dog", "wolf"]},
        {"field": "taken", "gte": "2024-01-01T00:00:00Z"},
    ],
    "must_not": [{"field": "path", "prefix": "file:///photos/drafts/"}],
}
QUESTIONS: dict[str, Any] = {
    "words": {"value": {"text": "a dog on the beach", "limit": 10}},
    "file name": {"value": {"text": "IMG_2041", "axes": ["fts"]}},
    "more like an asset": {"value": {"asset_id": ASSET, "require": ["vv"]}},
    "narrowed, with facets": {
        "value": {
            "text": "running",
            "filter": FILTER,
            "facets": ["tags", "year"],
            "min_relevance": "auto",
        }
    },
    "newest first": {
        "value": {"filter": {"must": [{"field": "has", "value": "text"}]}, "sort": "newest"}
    },
    "like one asset, unlike another": {
        "value": {
            "examples": [{"asset_id": ASSET}, {"asset_id": "1" * 64, "weight": -0.5}],
            "timeout_ms": 500,
            "profile": True,
        }
    },
}
BATCHES: dict[str, Any] = {
    "two questions": {
        "value": {"questions": [{"text": "a dog on the beach"}, {"asset_id": ASSET, "limit": 5}]}
    }
}
