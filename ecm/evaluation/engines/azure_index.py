"""What Azure AI Search is to index, so that it can be asked: a definition and batches of documents.

Create Index and Index Documents, api-version 2024-07-01: one searchable field of words, the vectors
(HNSW, cosine; not stored a second time), the asset id as key. No I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from ecm.evaluation.engines.azure_contract import KEY_FIELD
from ecm.evaluation.engines.vectors import Corpus

WORDS_FIELD: Final = "words"
MOST_DOCUMENTS: Final = 1000
"""Of one batch, by the product's limits; so are the bytes, a little below 16 MB."""
MOST_BYTES: Final = 15 << 20
_PROFILE: Final = "nearest"


def index_definition(name: str, corpus: Corpus) -> dict[str, Any]:
    """The body of Create Index."""
    fields: list[dict[str, Any]] = [
        {"name": KEY_FIELD, "type": "Edm.String", "key": True, "searchable": False},
        {
            "name": WORDS_FIELD,
            "type": "Edm.String",
            "searchable": True,
            "filterable": False,
            "sortable": False,
            "facetable": False,
        },
    ]
    for field, column in corpus.columns.items():
        fields.append(
            {
                "name": field.value,
                "type": "Collection(Edm.Single)",
                "searchable": True,
                "retrievable": False,
                "stored": False,
                "dimensions": int(column.vectors.shape[1]),
                "vectorSearchProfile": _PROFILE,
            }
        )
    return {
        "name": name,
        "fields": fields,
        "similarity": {"@odata.type": "#Microsoft.Azure.Search.BM25Similarity"},
        "vectorSearch": {
            "algorithms": [
                {"name": "hnsw", "kind": "hnsw", "hnswParameters": {"metric": "cosine"}}
            ],
            "profiles": [{"name": _PROFILE, "algorithm": "hnsw"}],
        },
    }


def document_batches(corpus: Corpus) -> Iterator[bytes]:
    """Bodies of Index Documents, each within the product's limits, all assets once."""
    rows = {
        field: dict(zip(column.rows.tolist(), range(len(column.rows)), strict=True))
        for field, column in corpus.columns.items()
    }
    batch: list[bytes] = []
    size = 0
    for place, asset_id in enumerate(corpus.ids):
        document: dict[str, Any] = {
            "@search.action": "mergeOrUpload",
            KEY_FIELD: asset_id,
            WORDS_FIELD: corpus.texts[place],
        }
        for field, places in rows.items():
            if (row := places.get(place)) is not None:
                vector = corpus.columns[field].vectors[row]
                document[field.value] = [float(str(value)) for value in vector]
        line = json.dumps(document).encode()
        if batch and (len(batch) >= MOST_DOCUMENTS or size + len(line) > MOST_BYTES):
            yield _batch(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield _batch(batch)


def _batch(documents: list[bytes]) -> bytes:
    return b'{"value":[' + b",".join(documents) + b"]}"
