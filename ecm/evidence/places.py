"""What a complete listing says about what the store knows: which places are empty, which are back.

A place is a URI of a tenant; what was seen there last decides what lies there. The listing comes as
a Parquet file (LISTED) and the scopes it covers completely. DuckDB joins the two and may spill to
disk, so that memory does not grow with the number of places. Writes nothing; knows no file system.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from ecm.evidence.choice import duck_errors
from ecm.evidence.schema import ASSET_SIGHTINGS, ASSET_VERSIONS, fixed_schema
from ecm.evidence.store import EvidenceStore, of_tenant

LISTED: Final = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("etag", pa.string()),
        pa.field("found", pa.bool_(), nullable=False),
    ]
)
"""One listed entry: `found` with its identity, or skipped. The URI of a folder ends in a slash."""

MEMORY: Final = "1GB"
ROWS_PER_BATCH: Final = 50_000

_SEEN: Final = """
SELECT uri, asset_id, 'present' AS state, size, mtime_ns, etag,
    observed_at AS moment, version_id AS id
FROM asset_versions WHERE tenant_id = $tenant
UNION ALL
SELECT uri, asset_id, state, size, mtime_ns, etag, observed_at AS moment, sighting_id AS id
FROM asset_sightings WHERE tenant_id = $tenant
"""

_LOOKS: Final = f"""
CREATE TEMP TABLE looks AS
SELECT * FROM ({_SEEN}) AS s
WHERE EXISTS (
    SELECT 1 FROM scopes WHERE s.uri = root OR (NOT exact AND starts_with(s.uri, below))
)
"""  # noqa: S608 - fixed text

# Nearly every place was looked at once; ordering the looks of all would cost ten times as much.
_OFTEN: Final = """
CREATE TEMP TABLE often AS SELECT uri FROM looks GROUP BY uri HAVING count(*) > 1
"""

# The last look at each place; `was_there`, `was_gone`: what was known before the listing began, and
# `same`: whether it is that content still.
_KNOWN: Final = """
CREATE TEMP TABLE known AS
SELECT uri, asset_id, state, size, mtime_ns, etag, moment,
    moment < $began AND state <> 'gone' AS was_there,
    moment < $began AND state = 'gone' AS was_gone,
    moment < $began AS same
FROM looks ANTI JOIN often USING (uri)
UNION ALL
SELECT uri, held.asset_id, held.state, held.size, held.mtime_ns, held.etag, held.moment,
    coalesce(before.state <> 'gone', false), coalesce(before.state = 'gone', false),
    coalesce(before.asset_id = held.asset_id, false)
FROM (
    SELECT uri, arg_max(sight, rank) AS held,
        arg_max(sight, rank) FILTER (sight.moment < $began) AS before
    FROM (
        SELECT uri, (moment, coalesce(mtime_ns, 0), id) AS rank,
            {'asset_id': asset_id, 'state': state, 'size': size, 'mtime_ns': mtime_ns,
             'etag': etag, 'moment': moment} AS sight
        FROM looks SEMI JOIN often USING (uri)
    ) GROUP BY uri
)
"""

_LOST: Final = """
CREATE TEMP TABLE lost AS
SELECT k.uri, k.asset_id, k.size, k.mtime_ns, k.etag
FROM known AS k ANTI JOIN listed USING (uri)
WHERE k.state <> 'gone' AND k.moment < $began AND NOT EXISTS (
    SELECT 1 FROM listed AS f
    WHERE NOT f.found AND suffix(f.uri, '/') AND starts_with(k.uri, f.uri)
)
"""

_CANDIDATES: Final = """
CREATE TEMP TABLE candidates AS
SELECT l.uri, l.size, l.mtime_ns, l.etag, k.asset_id, k.state
FROM listed AS l JOIN known AS k USING (uri)
WHERE l.found AND k.moment < $began AND (
    k.state = 'gone' OR l.size <> k.size
    OR l.mtime_ns IS DISTINCT FROM k.mtime_ns OR l.etag IS DISTINCT FROM k.etag
)
"""

_BACK: Final = """
CREATE TEMP TABLE back AS
SELECT uri, size, mtime_ns, etag, asset_id FROM (
    SELECT c.uri, c.size, c.mtime_ns, c.etag,
        arg_max(s.asset_id, (s.moment, coalesce(s.mtime_ns, 0), s.id)) AS asset_id,
        any_value(c.state) AS state, any_value(c.asset_id) AS held
    FROM candidates AS c JOIN looks AS s ON s.uri = c.uri AND s.size = c.size
        AND s.mtime_ns IS NOT DISTINCT FROM c.mtime_ns AND s.etag IS NOT DISTINCT FROM c.etag
    GROUP BY c.uri, c.size, c.mtime_ns, c.etag
) WHERE state = 'gone' OR asset_id <> held
"""

_APPEARED: Final = """
CREATE TEMP TABLE appeared AS
SELECT asset_id FROM known
WHERE moment >= $began AND state <> 'gone' AND NOT (was_there AND same)
UNION SELECT asset_id FROM back
"""

# Content of lost places that lies at a listed place as well.
_ELSEWHERE: Final = """
CREATE TEMP TABLE elsewhere AS
SELECT DISTINCT k.asset_id
FROM known AS k SEMI JOIN lost USING (asset_id) JOIN listed AS l USING (uri)
WHERE l.found AND k.state <> 'gone'
UNION FROM appeared
"""

_SHARES: Final = """
SELECT s.source,
    (SELECT count(*) FROM listed AS l
     WHERE l.uri = s.root OR (NOT s.exact AND starts_with(l.uri, s.below))) AS listed,
    (SELECT count(*) FROM known AS k WHERE k.was_there
     AND (k.uri = s.root OR (NOT s.exact AND starts_with(k.uri, s.below)))) AS known,
    (SELECT count(*) FROM lost AS o WHERE o.asset_id NOT IN (FROM appeared)
     AND (o.uri = s.root OR (NOT s.exact AND starts_with(o.uri, s.below)))) AS left_behind,
    (SELECT count(*) FROM lost AS o WHERE o.asset_id NOT IN (FROM elsewhere)
     AND (o.uri = s.root OR (NOT s.exact AND starts_with(o.uri, s.below)))) AS nowhere
FROM scopes AS s ORDER BY s.source
"""

_WITHHOLD: Final = """
DELETE FROM lost WHERE EXISTS (
    SELECT 1 FROM scopes AS s WHERE list_contains($sources::VARCHAR[], s.source)
    AND (lost.uri = s.root OR (NOT s.exact AND starts_with(lost.uri, s.below)))
)
"""

_RETURNED: Final = """
SELECT (SELECT count(*) FROM back) + (
    SELECT count(*) FROM known
    WHERE was_gone AND state <> 'gone' AND moment >= $began
)
"""

_MOVED: Final = "SELECT count(*) FROM lost WHERE asset_id IN (FROM appeared)"

_FOUND_GONE: Final = """
SELECT uri, asset_id, size, mtime_ns, etag FROM lost ORDER BY uri
"""
_FOUND_BACK: Final = "SELECT uri, asset_id, size, mtime_ns, etag FROM back ORDER BY uri"

_UNCHANGED: Final = """
SELECT l.uri, k.asset_id, l.size, l.mtime_ns, l.etag
FROM listed AS l JOIN known AS k USING (uri)
WHERE l.found AND k.state <> 'gone' AND k.moment < $began AND l.size = k.size
    AND l.mtime_ns IS NOT DISTINCT FROM k.mtime_ns AND l.etag IS NOT DISTINCT FROM k.etag
UNION ALL FROM (SELECT uri, asset_id, size, mtime_ns, etag FROM back)
ORDER BY uri
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """What one source covers: everything below `root` (a URI without a slash at its end), or, when
    it is `exact`, that one file. Scopes that are compared together do not overlap.
    """

    source: str
    root: str
    exact: bool = False

    @property
    def below(self) -> str:
        """What the URIs of everything below it begin with."""
        return self.root.rstrip("/") + "/"

    def holds(self, uri: str) -> bool:
        return uri == self.root or (not self.exact and uri.startswith(self.below))


@dataclass(frozen=True, slots=True)
class Share:
    """Places of one scope: listed now, and known to hold something; those of these that are lost
    and whose content has not come to a new place, and those whose content is not listed anywhere.
    """

    source: str
    listed: int
    known: int
    left_behind: int
    nowhere: int


class Compared:
    """A listing against what is known of a tenant. Used within `compared`."""

    def __init__(self, duck: Any, bound: dict[str, Any]) -> None:
        self._duck = duck
        self._bound = bound

    def shares(self) -> tuple[Share, ...]:
        """How much of each scope is lost, before anything is withheld."""
        return tuple(Share(*row) for row in self._rows(_SHARES))

    def withhold(self, sources: Sequence[str]) -> None:
        """Take what these sources have lost as not looked at."""
        with duck_errors("comparing a listing"):
            self._duck.execute(_WITHHOLD, {"sources": list(sources)})

    def returned(self) -> int:
        """Places that were empty, or held later content, and hold known content again."""
        return int(self._rows(_RETURNED)[0][0])

    def moved(self) -> int:
        """Lost places whose content lies at a place where it did not lie before."""
        return int(self._rows(_MOVED)[0][0])

    def gone(self) -> Iterator[pa.RecordBatch]:
        """Lost places: uri, asset_id, size, mtime_ns, etag of what lay there last."""
        return self._batches(_FOUND_GONE)

    def back(self) -> Iterator[pa.RecordBatch]:
        """Places that hold known content again although no new version says so; same columns."""
        return self._batches(_FOUND_BACK)

    def unchanged(self) -> Iterator[pa.RecordBatch]:
        """Listed places whose content is known by their identity alone; same columns."""
        return self._batches(_UNCHANGED)

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with duck_errors("comparing a listing"):
            named = _named_in(query, self._bound)
            rows: list[tuple[Any, ...]] = self._duck.execute(query, named).fetchall()
            return rows

    def _batches(self, query: str) -> Iterator[pa.RecordBatch]:
        with duck_errors("comparing a listing"):
            found = self._duck.sql(query, params=_named_in(query, self._bound))
            yield from found.to_arrow_reader(ROWS_PER_BATCH)


@contextmanager
def compared(
    store: EvidenceStore, tenant_id: str, scopes: Sequence[Scope], listed: Path, began: float
) -> Iterator[Compared]:
    """Compare a listing that began at `began` (Unix seconds) with what the store knows.

    What was seen after that moment was seen by somebody who looked later than the listing, so it is
    never taken for lost. `listed` is a Parquet file of LISTED; what spills lies beside it. Raises
    ContractError for a malformed tenant, StoreCorrupt, ResourceExhausted.
    """
    of_tenant(tenant_id)  # checks the name
    bound = {"tenant": tenant_id, "began": began}
    with duckdb.connect() as duck:
        with duck_errors("comparing a listing"):
            duck.execute(f"SET memory_limit = '{MEMORY}'")
            duck.execute("SET preserve_insertion_order = false")
            duck.execute("SET temp_directory = $folder", {"folder": str(listed.parent / "spill")})
            for name in (ASSET_VERSIONS, ASSET_SIGHTINGS):
                there = store.has_table(name)
                duck.register(
                    name, store.dataset(name) if there else fixed_schema(name).empty_table()
                )
            duck.register("scopes", _table_of(scopes))
            duck.read_parquet(str(listed)).create_view("listed")
            for statement in (
                _LOOKS,
                _OFTEN,
                _KNOWN,
                _LOST,
                _CANDIDATES,
                _BACK,
                _APPEARED,
                _ELSEWHERE,
            ):
                duck.execute(statement, _named_in(statement, bound))
        yield Compared(duck, bound)


def _table_of(scopes: Sequence[Scope]) -> pa.Table:
    return pa.table(
        {
            "source": pa.array([s.source for s in scopes], pa.string()),
            "root": pa.array([s.root for s in scopes], pa.string()),
            "below": pa.array([s.below for s in scopes], pa.string()),
            "exact": pa.array([s.exact for s in scopes], pa.bool_()),
        }
    )


def _named_in(query: str, bound: dict[str, Any]) -> dict[str, Any]:
    """The values that a query names: DuckDB refuses others."""
    return {name: value for name, value in bound.items() if f"${name}" in query}
