"""Asks a service of several tenants as somebody who wants what is not theirs, and counts.

Knows the doors: the engine itself, and every route that shows assets. What a question is made of is
known to tests/hostile_queries.py.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError
from starlette.testclient import TestClient

from ecm.contracts.search import SearchRequest
from ecm.errors import ImageError, QueryError
from tests.hostile_queries import Attacker, given_away, sent
from tests.local_service import LocalService

BATCH = 3
JSON = {"content-type": "application/json"}
ROUTES = ("", "/history", "/thumbnail", "/original")


@dataclass
class Tally:
    """Questions by door, and how they ended: answered or refused is well; the lists are not."""

    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    hits: int = 0
    given_away: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class Siege:
    """Attackers with the key of each tenant, at every door in turn."""

    def __init__(self, service: LocalService, seed: int) -> None:
        self.tally = Tally()
        self._service, self._rnd = service, random.Random(seed)
        owns = service.owns
        self._attackers = [
            Attacker(self._rnd, own, [other for other in owns.values() if other is not own])
            for own in owns.values()
        ]
        self._images = [data for one in service.pictures.values() for data in one.values()][::5]

    def run(self, queries: int, http: float) -> Tally:
        """So many questions, a share of them over HTTP."""
        with ExitStack() as opened:
            clients = {
                one.own.tenant: opened.enter_context(self._service.client(one.own.tenant))
                for one in self._attackers
            }
            while self.tally.asked.total() < queries:
                one = self._rnd.choice(self._attackers)
                if self._rnd.random() < http:
                    self._knock(clients[one.own.tenant], one)
                else:
                    self._ask(one)
        return self.tally

    def _ask(self, one: Attacker) -> None:
        self.tally.asked["engine"] += 1
        question = one.question(self._images)
        try:
            request = SearchRequest.model_validate({**question, "tenant_id": one.own.tenant})
            answer = self._service.engine.search(request)
        except (ValidationError, QueryError, ImageError):
            return
        except Exception as error:  # noqa: BLE001 - counted, whatever it is: nothing may break
            self.tally.broken.append(f"engine: {error!r}: {question!r}"[:500])
            return
        self._answered("engine", one, answer.model_dump(mode="json"))

    def _knock(self, client: TestClient, one: Attacker) -> None:
        doors = (self._post, self._post, self._get, self._upload, self._batch, self._asset)
        self._rnd.choice(doors)(client, one)

    def _post(self, client: TestClient, one: Attacker) -> None:
        body = one.question(self._images)
        if self._rnd.random() < 0.1:
            body["tenant_id"] = self._rnd.choice(one.others).tenant
        self._heard("POST search", one, client.post("/v1/search", content=sent(body), headers=JSON))

    def _get(self, client: TestClient, one: Attacker) -> None:
        text = one.text()[:1500].encode("utf-8", "replace").decode()
        params = {"q": text, "filter": sent(one.filter()).decode(), "tag": text[:50], "limit": 200}
        kept = self._rnd.sample(sorted(params), self._rnd.randint(1, 4))
        got = client.get("/v1/search", params={name: params[name] for name in kept})
        self._heard("GET search", one, got)

    def _upload(self, client: TestClient, one: Attacker) -> None:
        body = one.question()
        body.pop("asset_id", None)
        data = {"request": sent(body).decode()}
        files = {"image": ("x", self._rnd.choice(self._images))}
        self._heard("image", one, client.post("/v1/search/image", files=files, data=data))

    def _batch(self, client: TestClient, one: Attacker) -> None:
        body = {"questions": [one.question(self._images) for _ in range(BATCH)]}
        got = client.post("/v1/search/batch", content=sent(body), headers=JSON)
        self.tally.asked["batch"] += BATCH
        if got.status_code != 200:
            self._refused("batch", got)
            return
        for each in got.json()["answers"]:
            if each["response"] is not None:
                self._answered("batch", one, each["response"])
            elif each["problem"]["status"] >= 500:
                self.tally.broken.append(f"batch: {each['problem']}"[:500])

    def _asset(self, client: TestClient, one: Attacker) -> None:
        """Of an asset that is its own, another's, or nobody's."""
        names = (one.asset_id(), one.asset_id()[:8], one.text()[:100])
        name = self._rnd.choices(names, (6, 1, 1))[0]
        route = self._rnd.choice(ROUTES)
        path = quote(name.encode("utf-8", "replace"), safe="")
        got = client.get(f"/v1/assets/{path}{route}")
        door = f"assets{route}"
        self.tally.asked[door] += 1
        if got.status_code != 200:
            self._refused(door, got)
            return
        self.tally.answered[door] += 1
        known = {each for each in one.own.ids if each.startswith(name)}
        if not known:
            self.tally.given_away.append(f"{door}: {name}")
        for other in one.others:
            foreign = (other.uris - one.own.uris) | other.runs
            said = [each for each in foreign if f'"{each}"' in got.text]
            self.tally.given_away += [f"{door}: {each}" for each in said]

    def _heard(self, door: str, one: Attacker, got: Any) -> None:
        self.tally.asked[door] += 1
        if got.status_code == 200:
            self._answered(door, one, got.json())
        else:
            self._refused(door, got)

    def _refused(self, door: str, got: Any) -> None:
        if got.status_code >= 500:
            self.tally.broken.append(f"{door}: {got.status_code} {got.text}"[:500])

    def _answered(self, door: str, one: Attacker, answer: Mapping[str, Any]) -> None:
        self.tally.answered[door] += 1
        self.tally.hits += len(answer["hits"])
        self.tally.given_away += [f"{door}: {each}" for each in given_away(answer, one.own)]
        if answer["cursor"] and self._rnd.random() < 0.2:
            for other in self._attackers:  # cursors become known to the others
                if other is not one:
                    other.cursors = [*other.cursors[-20:], answer["cursor"]]
