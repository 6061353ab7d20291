"""The routes of the service on a small store of three tenants, in this process, without Ray.

The doors, keys and routes are those that are served; only the deployment behind them is stood for
by the same functions, called in a thread. For tests that ask thousands of times.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from ecm.contracts.search import SearchRequest
from ecm.errors import QueryError
from ecm.evidence.history import asset_history, find_asset
from ecm.opening import search_parts
from ecm.search.assets import asset_view
from ecm.search.engine import SearchEngine
from ecm.search.opening import open_engine
from tests.factories import COLOURS, Indexer, asset_id, fake_profile, picture
from tests.hostile_queries import Own

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    from serve.access_log import AccessLog
    from serve.api import new_api
    from serve.asset_api import Showing, asset_routes
    from serve.bounds import Edge
    from serve.calls import Calls
    from serve.candidates import SnapshotView
    from serve.door import door_of
    from serve.originals import Originals, original_routes
    from serve.records_api import Records, record_routes
    from serve.search_api import Searching, search_routes

MARKS = {"ann": (0, 1), "ann-b": (1, 2), "bob": (0, 3)}
"""Which pictures of every colour are a tenant's: some are another's too, some only its own."""


class _Method:
    """What `handle.name` is: its `remote` answers later, from a thread."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self._answer = answer

    def remote(self, *args: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(asyncio.to_thread(self._answer, *args))


class _Unwritten(AccessLog):
    """Of thousands of requests nobody reads the lines."""

    def write(self, *_: object) -> None:
        return None


class Local:
    """A handle to what the deployment of candidates does."""

    def __init__(self, engine: SearchEngine, indexer: Indexer) -> None:
        store, reader = indexer.store, engine.reader

        def search(request: SearchRequest, _asked_at: float, _request_id: str) -> bytes:
            return engine.search(request).model_dump_json().encode()

        def thumbnail(tenant: str, name: str) -> bytes:
            found = reader.thumbnail(tenant, name)
            if found is None:
                raise QueryError(f"no thumbnail of asset {name}", "query.asset_unknown")
            return found

        def snapshot(tenant: str) -> SnapshotView:
            return SnapshotView(
                snapshot_id=reader.ref.snapshot_id,
                created_at=reader.ref.created_at,
                assets=reader.ref.tenants.get(tenant, 0),
                transforms=reader.ref.transforms,
                dims=reader.ref.dims,
                broken={},
                ranking_profile=engine.ranking.version,
            )

        self.search, self.thumbnail = _Method(search), _Method(thumbnail)
        self.snapshot = _Method(snapshot)
        self.asset = _Method(lambda tenant, name: asset_view(store, reader, tenant, name))
        self.history = _Method(
            lambda tenant, name: asset_history(store, tenant, find_asset(store, tenant, name), {})
        )


class LocalService:
    """Three tenants, their engine, what each may see, and a client for each. Close it after use."""

    def __init__(self, home: Path) -> None:
        keys = {hashlib.sha256(f"key-of-{t}".encode()).hexdigest(): t for t in MARKS}
        settings = (f"serve.api_keys={json.dumps(keys)}", "search.time_ceiling_ms=60000",
                    "search.rerank_ceiling_ms=60000", 'roots=["/photos"]')  # fmt: skip
        self.indexer = Indexer(fake_profile(home, *settings))
        self.pictures = {t: _pictures(t, marks) for t, marks in MARKS.items()}
        for tenant, pictures in self.pictures.items():
            self.indexer.add(pictures, tenant=tenant, run_id=f"run-of-{tenant}")
        self.indexer.publish()
        profile = self.indexer.profile
        self.engine = open_engine(search_parts(profile))
        self.owns = {tenant: self._own(tenant) for tenant in MARKS}
        door, handle = door_of(profile), Local(self.engine, self.indexer)
        calls = Calls(handle, 60.0)  # type: ignore[arg-type]
        searching = Searching(door, calls, handle, 4)  # type: ignore[arg-type]
        showing = Showing(door, calls, handle)  # type: ignore[arg-type]
        records = Records(profile.evidence)

        async def places(tenant: str, name: str) -> Sequence[str]:
            return (await showing.asset(tenant, name)).uris

        originals = Originals(places, door.roots, profile.images, 2**24, 2)
        edge = Edge(log=_Unwritten(), access=door.access)
        api = new_api(lambda: edge)
        api.include_router(search_routes(lambda _: searching))
        api.include_router(asset_routes(lambda _: showing))
        api.include_router(original_routes(lambda _: door, lambda _: originals))
        api.include_router(record_routes(lambda _: door, lambda _: records))
        self._door, self._api = door, api

    def client(self, tenant: str) -> TestClient:
        """A client with the key of a tenant; to be entered."""
        made = TestClient(self._api, "http://localhost", raise_server_exceptions=False)
        made.headers["x-api-key"] = f"key-of-{tenant}"
        return made

    def close(self) -> None:
        self.engine.__exit__()
        self._door.close()

    def _own(self, tenant: str) -> Own:
        ids = frozenset(map(asset_id, self.pictures[tenant].values()))
        rows = self.engine.reader.rows(tenant, sorted(ids))
        values = {said.text for row in rows for said in row.statements}
        values |= {row.caption for row in rows if row.caption} | {t for r in rows for t in r.tags}
        uris = frozenset(uri for row in rows for uri in row.uris)
        return Own(tenant, ids, uris, frozenset({f"run-of-{tenant}"}), frozenset(values))


def _pictures(tenant: str, marks: Sequence[int]) -> dict[str, bytes]:
    return {
        f"of-{tenant}/{colour}-secret-{mark}.png": picture(colour, mark)
        for colour in COLOURS
        for mark in marks
    }
