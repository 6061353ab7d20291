"""Choosing best evidence per asset: the SQL that DuckDB runs over columns of the evidence tables.

Knows how evidence is ranked and grouped. Does not touch vectors' values and writes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ecm.contracts.search import Axis
from ecm.errors import ResourceExhausted
from ecm.evidence import choice_sql
from ecm.evidence.changes import ASSET_COLUMNS, CREATED, PLACE_TABLES, Touched, of_touched
from ecm.evidence.faults import from_words, lance_errors, shown
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.quarantine import NOTHING_SHUT_OUT, ShutOut
from ecm.evidence.refs import VECTOR_AXES
from ecm.evidence.schema import ASSET_WORDS, ASSETS, EVIDENCE_TEXT, fixed_schema

ROWS_PER_BATCH: Final = 8192


class Choice:
    """The chosen evidence of a store, held in an in-memory DuckDB that may spill to disk."""

    def __init__(self, connection: Any, axes: tuple[Axis, ...], since: Mapping[str, int]) -> None:
        self._connection = connection
        self._since = since
        self.axes = axes

    def superseded(self) -> int:
        """How many assets have evidence but no place left that holds their bytes."""
        return self._count(
            "SELECT count(*) FROM spine ANTI JOIN places USING (tenant_id, asset_id)"
        )

    def stated_before(self, sources: Mapping[Axis, str]) -> int:
        """Touched assets that had evidence when the base was built, of tables named by axis."""
        said = {"said": EVIDENCE_TEXT} | {f"source_{axis}": sources[axis] for axis in self.axes}
        rows = [
            choice_sql.STATED_BEFORE.format(
                source=source, created=CREATED, version=self._since.get(table, 0)
            )
            for source, table in said.items()
        ]
        return self._count(choice_sql.COUNTED.format(rows=" UNION ALL ".join(rows)))

    def tenants(self) -> dict[str, int]:
        """Assets per tenant."""
        with duck_errors("counting assets"):
            rows = self._connection.execute(
                "SELECT tenant_id, count(*) FROM spine JOIN places USING (tenant_id, asset_id) "
                "GROUP BY tenant_id ORDER BY tenant_id"
            ).fetchall()
        return {tenant: int(count) for tenant, count in rows}

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The assets in order of tenant and of their vectors' places, ROWS_PER_BATCH at a time.

        Columns: those of the snapshot but for words of places and vectors; per axis `<axis>_place`
        (int64 row offset in its vector table, or null) and `<axis>_evidence`.
        """
        columns = "".join(
            f",\n    vectors_{a}.place AS {a}_place, vectors_{a}.said AS {a}_evidence"
            for a in self.axes
        )
        joins = "".join(f"\nLEFT JOIN vectors_{a} USING (tenant_id, asset_id)" for a in self.axes)
        order = "".join(f", {a}_place" for a in self.axes)
        times = "".join(f", vectors_{a}.said_at" for a in self.axes)
        query = choice_sql.ROWS.format(columns=columns, times=times, joins=joins, order=order)
        with duck_errors("choosing evidence"):
            yield from self._connection.sql(query).to_arrow_reader(ROWS_PER_BATCH)

    def _count(self, query: str) -> int:
        with duck_errors("counting assets"):
            return int(self._connection.execute(query).fetchone()[0])


@contextmanager
def chosen(
    policy: SnapshotPolicy,
    datasets: Mapping[str, Any],
    vectors: Mapping[Axis, Any],
    shut_out: ShutOut = NOTHING_SHUT_OUT,
    touched: Touched | None = None,
) -> Iterator[Choice]:
    """Choose by policy: listed transforms first, then confidence, then recency, per kind of text.

    An asset is left out when the newest look at every place it was seen at found other bytes there,
    or nothing. `datasets` are Lance datasets by table name, `vectors` the vector table of each
    axis, if any; rows that are `shut_out` are as if they were not there. With `touched` only those
    assets are chosen for, each as it would be among all.
    Raises StoreCorrupt, ResourceExhausted.
    """
    axes = tuple(axis for axis in VECTOR_AXES if axis in vectors)
    with tempfile.TemporaryDirectory(prefix="ecm-choice-") as folder, duckdb.connect() as duck:
        with duck_errors("choosing evidence"):
            duck.execute("SET temp_directory = $folder", {"folder": folder})
            _register_policy(duck, policy)
            duck.register("shut_out", shut_out.keys)
            _register_sources(duck, datasets, touched, shut_out)
            for axis in axes:
                heads = _heads(vectors[axis], policy.evidence_since, touched)
                _register_evidence(duck, axis.value, heads, touched, shut_out)
                duck.execute(choice_sql.VECTORS.format(axis=axis))
            near = "" if touched is None else choice_sql.NEAR
            for statement in (
                choice_sql.SAID,
                choice_sql.CHOSEN,
                choice_sql.TEXTS,
                choice_sql.AGREED,
                choice_sql.PLACES.format(near=near),
                choice_sql.FACTS,
                choice_sql.WRITTEN,
            ):
                duck.execute(statement)
            stated = ["SELECT tenant_id, asset_id FROM chosen"]
            stated += [f"SELECT tenant_id, asset_id FROM vectors_{axis}" for axis in axes]  # noqa: S608 - axis names of our own
            duck.execute(choice_sql.SPINE.format(stated=" UNION ALL ".join(stated)))
        yield Choice(duck, axes, {} if touched is None else touched.since)


@contextmanager
def duck_errors(what: str) -> Iterator[None]:
    """Translate errors of DuckDB, and of Lance when DuckDB reads from it."""
    try:
        with lance_errors(what):
            yield
    except duckdb.OutOfMemoryException as error:
        raise ResourceExhausted(f"{what}: out of memory", hint="free memory or disk") from error
    except duckdb.Error as error:
        raise from_words(what, error) from shown(error)


def _register_policy(duck: Any, policy: SnapshotPolicy) -> None:
    """Tables `defaults` (one row), `rules` (a row for a tenant of its own) and `preferred`."""
    lists = {"": policy.transforms.get(Axis.FTS, ())}
    rules = []
    for tenant_id, own in policy.tenants.items():
        listed_by = tenant_id if Axis.FTS in own.transforms else ""
        if listed_by:
            lists[listed_by] = own.transforms[Axis.FTS]
        rules.append((tenant_id, listed_by, own.others, own.min_confidence))
    listed = [(by, t, place) for by, ts in lists.items() for place, t in enumerate(ts)]
    defaults = (policy.others, list(policy.apart), policy.min_confidence, policy.evidence_since)
    for name, schema, rows in (
        ("defaults", _DEFAULTS, [defaults]),
        ("rules", _RULES, rules),
        ("preferred", _PREFERRED, listed),
    ):
        made = [dict(zip(schema.names, row, strict=True)) for row in rows]
        duck.register(name, pa.Table.from_pylist(made, schema=schema))


def _register_sources(
    duck: Any, datasets: Mapping[str, Any], touched: Touched | None, shut_out: ShutOut
) -> None:
    """Every table of evidence as `source_<name>`; places of all assets, the rest of those touched.

    Others may have been at the places of those touched, and be there now.
    """
    for name in (ASSETS, ASSET_WORDS, EVIDENCE_TEXT, *PLACE_TABLES):
        source, near = datasets.get(name, fixed_schema(name).empty_table()), touched
        if name in PLACE_TABLES:
            near = None
        elif touched is not None and name in datasets:
            columns = [*source.schema.names, CREATED]
            source = source.to_table(columns=columns, filter=of_touched(touched))
        elif touched is not None:
            source = source.append_column(CREATED, pa.array([], pa.uint64()))
        if name == EVIDENCE_TEXT:
            _register_evidence(duck, name, source, near, shut_out)
        else:
            _register(duck, f"source_{name}", source, near)


def _register_evidence(
    duck: Any, name: str, source: Any, touched: Touched | None, shut_out: ShutOut
) -> None:
    """A table of evidence as `source_<name>`, without the rows that are shut out."""
    if not shut_out.ids:
        _register(duck, f"source_{name}", source, touched)
        return
    _register(duck, f"stored_{name}", source, touched)
    duck.execute(choice_sql.SHUT_OUT.format(name=name))


def _register(duck: Any, name: str, source: Any, touched: Touched | None) -> None:
    """A source by its name, without rows that have a touched content but are another tenant's."""
    if touched is None:
        duck.register(name, source)
        return
    duck.register("touched", touched.assets)
    duck.register("wider", source)
    duck.execute(choice_sql.TOUCHED.format(name=name))


def _heads(dataset: Any, since: float | None, touched: Touched | None) -> pa.RecordBatchReader:
    """Everything about the vectors of a table but the vectors, with their row offsets."""
    columns = [*ASSET_COLUMNS, "evidence_id", "evidence_key", "run_id", "transform", "observed_at"]
    columns += ["ordinal"]
    where = None if touched is None else of_touched(touched)
    if since is not None:
        recent = pc.field("observed_at") >= since
        where = recent if where is None else where & recent
    columns += ["_rowoffset"] if touched is None else ["_rowoffset", CREATED]
    return dataset.scanner(columns=columns, filter=where).to_reader()


_DEFAULTS: Final = pa.schema(
    [
        ("others", pa.string()),
        ("apart", pa.list_(pa.string())),
        ("min_confidence", pa.float64()),
        ("evidence_since", pa.float64()),
    ]
)
_RULES: Final = pa.schema(
    [
        ("tenant_id", pa.string()),
        ("listed_by", pa.string()),
        ("others", pa.string()),
        ("min_confidence", pa.float64()),
    ]
)
_PREFERRED: Final = pa.schema(
    [("listed_by", pa.string()), ("transform", pa.string()), ("place", pa.int32())]
)
