"""What other engines are given of ours: the same texts and the same vectors, and those of queries.

Knows the snapshot reader; knows no engine and no model (what encodes queries is passed in).

    vv           visual vectors, as they are stored
    vv_centred   (v - m) / |v - m| for the mean m of the tenant: what words are compared with where
                 a bridge brings them into the visual space
    mv           meaning vectors
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.identity import TenantId
from ecm.contracts.search import Axis
from ecm.errors import ConfigError
from ecm.evidence.matrix import TenantMatrix
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import LATER_TEXT_COLUMNS, TEXT_COLUMNS

Vector = npt.NDArray[np.float32]


class VectorField(StrEnum):
    """A vector of an asset, or of a query."""

    VV = "vv"
    VV_CENTRED = "vv_centred"
    MV = "mv"


MOST_ASSETS: Final = 200_000
"""Of a corpus: it is held in memory, about 14 KB an asset on the embedded models."""

QueryVectors = Callable[[EvaluationQuery], Mapping[VectorField, Vector]]
"""Vectors of a query by field, float32 (d,) of length 1: of its words, or of the shown asset as it
is stored. Raises EngineTrouble."""


@dataclass(frozen=True)
class VectorColumn:
    """One vector field of a corpus: `rows` are places in its ids, `vectors` float32 (k, d)."""

    rows: npt.NDArray[np.intp]
    vectors: Vector


@dataclass(frozen=True)
class Corpus:
    """All assets of a tenant as one snapshot shows them, in order of asset id."""

    snapshot_id: str
    tenant_id: TenantId
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    columns: Mapping[VectorField, VectorColumn]
    fingerprints: Mapping[str, str]


def read_corpus(reader: SnapshotReader, tenant_id: TenantId) -> Corpus:
    """What there is to search in. Raises ConfigError for a tenant without assets or with more than
    MOST_ASSETS, StoreCorrupt, AxisUnavailable.
    """
    assets = reader.ref.tenants.get(tenant_id, 0)
    if assets > MOST_ASSETS:
        raise ConfigError(
            f"tenant {tenant_id} has {assets} assets, other engines are given up to {MOST_ASSETS}",
            "evaluation.too_many",
            "ask internal engines alone, or evaluate on a smaller tenant",
        )
    table = reader.tenant_table(tenant_id, ["asset_id", *TEXT_COLUMNS, *LATER_TEXT_COLUMNS])
    rows = sorted(table.to_pylist(), key=lambda row: str(row["asset_id"]))
    if not rows:
        raise ConfigError(
            f"tenant {tenant_id} has no asset in snapshot {reader.ref.snapshot_id}",
            "evaluation.empty",
            "index something first, or name another tenant",
        )
    ids = tuple(str(row.pop("asset_id")) for row in rows)
    texts = tuple(" ".join(str(value) for value in row.values() if value) for row in rows)
    places = {asset_id: place for place, asset_id in enumerate(ids)}
    columns: dict[VectorField, VectorColumn] = {}
    for axis in (Axis.VV, Axis.MV):
        if axis in reader.broken:
            continue
        matrix = reader.tenant_matrix(tenant_id, axis)
        of = np.array([places[asset_id] for asset_id in matrix.asset_ids], dtype=np.intp)
        columns[VectorField(axis.value)] = VectorColumn(of, matrix.vectors)
        if axis is Axis.VV:
            columns[VectorField.VV_CENTRED] = VectorColumn(of, _centred(matrix))
    marks = {axis.value: ",".join(marks) for axis, marks in reader.ref.transforms.items()}
    return Corpus(reader.ref.snapshot_id, tenant_id, ids, texts, columns, marks)


def _centred(matrix: TenantMatrix) -> Vector:
    centred: Vector = ((matrix.vectors - matrix.mean) / matrix.lengths()[:, None]).astype(
        np.float32
    )
    return centred
