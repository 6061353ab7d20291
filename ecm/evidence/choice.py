"""Choosing best evidence per asset: the SQL that DuckDB runs over columns of the evidence tables.

Knows how evidence is ranked and grouped. Does not touch vectors' values and writes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import duckdb
import pyarrow as pa

from ecm.contracts.search import Axis
from ecm.errors import ResourceExhausted, StoreCorrupt
from ecm.evidence.faults import lance_errors
from ecm.evidence.refs import VECTOR_AXES, SnapshotPolicy
from ecm.evidence.schema import ASSET_VERSIONS, ASSETS, EVIDENCE_TEXT, fixed_schema

ROWS_PER_BATCH: Final = 8192

_CHOSEN: Final = """
CREATE TEMP TABLE chosen AS
SELECT tenant_id, asset_id, kind, evidence_key FROM (
    SELECT tenant_id, asset_id, kind, evidence_key,
        row_number() OVER (
            PARTITION BY tenant_id, asset_id, kind
            ORDER BY min(coalesce(place, 1000000)), avg(confidence) DESC NULLS LAST,
                     max(observed_at) DESC, evidence_key
        ) AS rank
    FROM evidence_text LEFT JOIN preferred USING (transform)
    WHERE kind <> 'nothing' AND (
        place IS NOT NULL
        OR ($others = 'last' AND NOT list_contains($apart::VARCHAR[], transform))
    )
    GROUP BY tenant_id, asset_id, kind, evidence_key
) WHERE rank = 1
"""

# BM25 knows how often a word is said, not how surely: a tag is said up to three times.
_TEXTS: Final = """
CREATE TEMP TABLE texts AS
SELECT tenant_id, asset_id, statements,
    list_filter(statements, lambda s: s.kind = 'caption')[1].text AS caption,
    list_filter(statements, lambda s: s.kind = 'caption')[1].composed AS caption_composed,
    nullif(rtrim(array_to_string(list_transform(list_filter(
        statements, lambda s: s.kind = 'tag'),
        lambda s: repeat(s.text || ', ', greatest(1, round(3 * coalesce(s.confidence, 0.1))::INT))
    ), ''), ', '), '') AS tags,
    nullif(array_to_string(list_transform(list_filter(
        statements, lambda s: s.kind = 'classification'), lambda s: s.text), ', '), '')
        AS classification,
    nullif(array_to_string(list_transform(list_filter(
        statements, lambda s: s.kind = 'ocr'), lambda s: s.text), chr(10)), '') AS ocr
FROM (
    SELECT tenant_id, asset_id,
        list({'evidence_id': t.evidence_id, 'kind': kind, 'ordinal': t.ordinal,
              'run_id': t.run_id, 'transform': t.transform, 'confidence': t.confidence,
              'text': t.text, 'scheme': t.scheme, 'composed': t.composed}
             ORDER BY kind, t.ordinal) AS statements
    FROM evidence_text AS t JOIN chosen USING (tenant_id, asset_id, kind, evidence_key)
    WHERE t.text <> ''
    GROUP BY tenant_id, asset_id
)
"""

_PLACES: Final = """
CREATE TEMP TABLE places AS
SELECT tenant_id, asset_id, list(uri ORDER BY uri) AS uris FROM (
    SELECT tenant_id, uri, arg_max(asset_id, (observed_at, coalesce(mtime_ns, 0), version_id))
        AS asset_id
    FROM asset_versions GROUP BY tenant_id, uri
) GROUP BY tenant_id, asset_id
"""

_FACTS: Final = """
CREATE TEMP TABLE facts AS
SELECT tenant_id, asset_id, any_value(width) AS width, any_value(height) AS height,
    any_value(format) AS format
FROM assets GROUP BY tenant_id, asset_id
"""

_VECTORS: Final = """
CREATE TEMP TABLE vectors_{axis} AS
SELECT tenant_id, asset_id, max_by(_rowoffset, rank) AS place,
    max_by({{'evidence_id': evidence_id, 'run_id': run_id, 'transform': transform}}, rank) AS said
FROM (SELECT *, (observed_at, -ordinal, evidence_id) AS rank FROM source_{axis})
GROUP BY tenant_id, asset_id
"""

_SPINE: Final = """
CREATE TEMP TABLE spine AS
SELECT DISTINCT tenant_id, asset_id FROM ({stated})
"""

_ROWS: Final = """
SELECT tenant_id, asset_id, places.uris, facts.width, facts.height, facts.format,
    texts.caption, coalesce(texts.caption_composed, false) AS caption_composed,
    texts.tags, texts.classification, texts.ocr,
    coalesce(texts.statements, []) AS statements{columns}
FROM spine
JOIN places USING (tenant_id, asset_id)
LEFT JOIN facts USING (tenant_id, asset_id)
LEFT JOIN texts USING (tenant_id, asset_id){joins}
ORDER BY tenant_id{order}, asset_id
"""


class Choice:
    """The chosen evidence of a store, held in an in-memory DuckDB that may spill to disk."""

    def __init__(self, connection: Any, axes: tuple[Axis, ...]) -> None:
        self._connection = connection
        self.axes = axes

    def superseded(self) -> int:
        """How many assets have evidence but no place left that holds their bytes."""
        return self._count(
            "SELECT count(*) FROM spine ANTI JOIN places USING (tenant_id, asset_id)"
        )

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

        Columns: those of the snapshot but for names and vectors; per axis `<axis>_place` (int64 row
        offset in its vector table, or null) and `<axis>_evidence`.
        """
        columns = "".join(
            f",\n    vectors_{a}.place AS {a}_place, vectors_{a}.said AS {a}_evidence"
            for a in self.axes
        )
        joins = "".join(f"\nLEFT JOIN vectors_{a} USING (tenant_id, asset_id)" for a in self.axes)
        order = "".join(f", {a}_place" for a in self.axes)
        query = _ROWS.format(columns=columns, joins=joins, order=order)
        with duck_errors("choosing evidence"):
            yield from self._connection.sql(query).to_arrow_reader(ROWS_PER_BATCH)

    def _count(self, query: str) -> int:
        with duck_errors("counting assets"):
            return int(self._connection.execute(query).fetchone()[0])


@contextmanager
def chosen(
    policy: SnapshotPolicy, datasets: dict[str, Any], vectors: dict[Axis, Any]
) -> Iterator[Choice]:
    """Choose by policy: listed transforms first, then confidence, then recency, per kind of text.

    An asset is left out when every URI it was seen at was later seen with other bytes.
    `datasets` are Lance datasets by table name, `vectors` the vector table of each axis, if any.
    Raises StoreCorrupt, ResourceExhausted.
    """
    axes = tuple(axis for axis in VECTOR_AXES if axis in vectors)
    with tempfile.TemporaryDirectory(prefix="ecm-choice-") as folder, duckdb.connect() as duck:
        with duck_errors("choosing evidence"):
            duck.execute("SET temp_directory = $folder", {"folder": folder})
            _register(duck, policy, datasets)
            for axis in axes:
                duck.register(f"source_{axis}", _heads(vectors[axis]))
                duck.execute(_VECTORS.format(axis=axis))
            duck.execute(_CHOSEN, {"others": policy.others, "apart": list(policy.apart)})
            for statement in (_TEXTS, _PLACES, _FACTS):
                duck.execute(statement)
            stated = ["SELECT tenant_id, asset_id FROM chosen"]
            stated += [f"SELECT tenant_id, asset_id FROM vectors_{axis}" for axis in axes]  # noqa: S608 - axis names of our own
            duck.execute(_SPINE.format(stated=" UNION ALL ".join(stated)))
        yield Choice(duck, axes)


@contextmanager
def duck_errors(what: str) -> Iterator[None]:
    """Translate errors of DuckDB, and of Lance when DuckDB reads from it."""
    try:
        with lance_errors(what):
            yield
    except duckdb.OutOfMemoryException as error:
        raise ResourceExhausted(f"{what}: out of memory", hint="free memory or disk") from error
    except duckdb.Error as error:
        raise StoreCorrupt(f"{what}: {str(error).splitlines()[0][:400]}") from error


def _register(duck: Any, policy: SnapshotPolicy, datasets: dict[str, Any]) -> None:
    transforms = policy.transforms.get(Axis.FTS, ())
    preferred = pa.table(
        {
            "transform": pa.array(transforms, pa.string()),
            "place": pa.array(range(len(transforms)), pa.int32()),
        }
    )
    duck.register("preferred", preferred)
    for name in (ASSETS, ASSET_VERSIONS, EVIDENCE_TEXT):
        duck.register(name, datasets.get(name, fixed_schema(name).empty_table()))


def _heads(dataset: Any) -> pa.RecordBatchReader:
    """Everything about the vectors of a table but the vectors, with their row offsets."""
    columns = ["tenant_id", "asset_id", "evidence_id", "run_id", "transform", "observed_at"]
    return dataset.scanner(columns=[*columns, "ordinal", "_rowoffset"]).to_reader()
