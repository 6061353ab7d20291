"""Searches by somebody who wants another tenant's assets, and what an answer gives away of them.

Strings that mean something to SQL, to filters of Lance, to regular expressions or to nobody; ids,
runs, places and cursors of others in every field that takes any. Everything follows from a seed.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STRINGS = (
    "red",
    "' OR '1'='1",
    "'; DROP TABLE search_materialized; --",
    'tenant_id = "bob"',
    "tenant_id != 'ann' OR true",
    '") or true or ("',
    "asset_id IN (SELECT asset_id FROM search_materialized)",
    "_rowid >= 0",
    "1=1) UNION ALL SELECT * FROM assets --",
    "caption LIKE '%'",
    "array_has(uris, '')",
    '{"match_all": {}}',
    '{"field": "asset", "any": []}',
    "tags:* AND NOT tenant_id:ann",
    "+red -blue ~2 ^9 \\",
    '"unclosed phrase',
    "(?i).*",
    ".*|.+",
    "../../bob/red-0.png",
    "%00%2e%2e%2f",
    "\x00",
    "red\x00' OR tenant_id='bob",
    "\ud800",
    "\udfff red",
    "\u202e\u200b\ufeff",
    "İ\u0307ß\ufb03",
    "😀" * 40,
    "a" * 1999,
    "a " * 2500,
    "no " * 60,
    '-"red" -"blue"',
    "-",
    "",
    "   ",
    "null",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "of bob secret",
    "run-of-bob",
    "NaN",
)
AXES = ("vv", "x", "mv", "fts")
FACETS = ("tags", "classes", "format", "orientation", "colours", "year", "has")


@dataclass(frozen=True)
class Own:
    """What a tenant may see: ids, places and runs of its assets, and what is said of them."""

    tenant: str
    ids: frozenset[str]
    uris: frozenset[str]
    runs: frozenset[str]
    values: frozenset[str]


@dataclass
class Attacker:
    """Somebody with the key of one tenant who knows names of all others; `cursors` are theirs."""

    rnd: random.Random
    own: Own
    others: Sequence[Own]
    cursors: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Some strings, those of others among them."""
        foreign = self.rnd.choice(self.others)
        named = [*sorted(foreign.uris)[:5], *sorted(foreign.ids)[:5], *foreign.runs, foreign.tenant]
        parts = self.rnd.choices([*STRINGS, *named], k=self.rnd.randint(1, 3))
        return self.rnd.choice((" ", "", '"')).join(parts)

    def asset_id(self) -> str:
        """An id of somebody else, of the tenant itself, of nobody, or none at all."""
        foreign = sorted(self.rnd.choice(self.others).ids)
        own = sorted(self.own.ids)
        nobody = f"{self.rnd.getrandbits(256):064x}"
        return self.rnd.choice([*self.rnd.choices(foreign, k=3), self.rnd.choice(own), nobody])

    def condition(self) -> dict[str, Any]:
        rnd, foreign = self.rnd, self.rnd.choice(self.others)
        texts = [self.text()[: rnd.choice((20, 200))] for _ in range(rnd.randint(1, 3))]
        return rnd.choice(
            (
                {"field": rnd.choice(("tags", "classes")), rnd.choice(("any", "all")): texts},
                {"field": "format", "any": [*texts, "png"]},
                {
                    "field": "path",
                    "prefix": rnd.choice([*sorted(foreign.uris), *texts, "file:///"]),
                },
                {"field": "run", "any": [*foreign.runs, *texts]},
                {"field": "asset", "any": [self.asset_id() for _ in range(rnd.randint(1, 9))]},
                {"field": "width", "gte": rnd.choice((-1e308, 0, 1, 320))},
                {"field": "has", "value": rnd.choice(("text", "caption", "tags", "date"))},
                {"field": "orientation", "any": ["landscape", "portrait"]},
                {"field": "colours", "any": ["red", "blue"], "min_share": 0.01},
            )
        )

    def filter(self, depth: int = 0) -> dict[str, Any]:
        def nodes() -> list[dict[str, Any]]:
            deeper = depth < 3 and self.rnd.random() < 0.2
            return [
                self.filter(depth + 1) if deeper else self.condition()
                for _ in range(self.rnd.randint(0, 2))
            ]

        return {name: nodes() for name in ("must", "should", "must_not") if self.rnd.random() < 0.6}

    def question(self, images: Sequence[bytes] = ()) -> dict[str, Any]:
        """A body of POST /v1/search, most of which can be answered."""
        rnd = self.rnd
        asked: dict[str, Any] = {
            "limit": rnd.choice((1, 5, 20, 200)),
            "explain": rnd.random() < 0.5,
        }
        if rnd.random() < 0.8:
            asked["text"] = self.text()
        if rnd.random() < 0.3:
            asked["asset_id"] = self.asset_id()
        elif images and rnd.random() < 0.1:
            asked["image"] = base64.b64encode(rnd.choice(images)).decode()
        if rnd.random() < 0.2:
            weights = [rnd.choice((1.0, 0.5, -1.0)) for _ in range(2)]
            asked["examples"] = [{"asset_id": self.asset_id(), "weight": w} for w in weights]
        if rnd.random() < 0.5:
            asked["filter"] = self.filter()
        if rnd.random() < 0.3:
            asked["facets"] = rnd.sample(FACETS, 3)
        if rnd.random() < 0.2:
            asked["axes"] = rnd.sample(AXES, rnd.randint(1, 4))
        if rnd.random() < 0.2:
            asked["sort"] = rnd.choice(("newest", "largest", "name"))
        if rnd.random() < 0.2:
            asked["candidates"] = rnd.choice((1, 500))
        if rnd.random() < 0.1:
            asked["min_relevance"] = "auto"
        if rnd.random() < 0.1 and self.cursors:
            asked["cursor"] = rnd.choice(self.cursors)
        elif rnd.random() < 0.05:
            asked["cursor"] = self.text()[:512]
        return asked


def given_away(answer: Mapping[str, Any], own: Own) -> list[str]:
    """What a SearchResponse, as JSON has it, tells beyond what is the tenant's own."""
    told = []
    for hit in answer["hits"]:
        told += [] if hit["asset_id"] in own.ids else [f"asset {hit['asset_id']}"]
        told += [f"place {uri}" for uri in hit["uris"] if uri not in own.uris]
        runs = {said["run_id"] for said in hit["evidence"]}
        told += [f"run {run}" for run in runs - own.runs]
        texts = {said["text"] for said in hit["evidence"]} | {*hit["tags"], hit["caption"]}
        told += [f"text {text}" for text in texts - {None} - own.values]
    if answer["matched"] > len(own.ids):
        told.append(f"{answer['matched']} assets")
    for counted in answer["facets"].values():
        told += [f"facet {one['value']}" for one in counted if one["count"] > len(own.ids)]
    for name in ("tags", "classes"):
        folded = {value.casefold() for value in own.values}
        values = {one["value"].casefold() for one in answer["facets"].get(name, ())}
        told += [f"facet {value}" for value in values - folded]
    return told


def sent(body: Any) -> bytes:
    """JSON as a client of any kind may send it, lone surrogates escaped."""
    return json.dumps(body, ensure_ascii=True).encode()
