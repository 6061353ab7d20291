"""An index of qdrant-edge over a tenant's texts and vectors, built once and kept in a cache folder.

    <cache>/<snapshot>-<digest>/whole.json     sha256 of every file of the index, written last
    <cache>/<snapshot>-<digest>/shard/…        what qdrant-edge writes

The digest is of everything else that decides what is in it. An index that is not whole is built
again. Several processes may build at once: each builds apart, and one of them is kept. Knows
qdrant-edge; knows no query.
"""

from __future__ import annotations

import hashlib
import importlib
import shutil
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ecm.contracts.identity import Contract, digest
from ecm.errors import BackendMissing, StoreUnavailable
from ecm.evaluation.engines.config import OpenSourceConfig
from ecm.evaluation.engines.vectors import Corpus

PACKAGE: Final = "qdrant-edge-py"
TEXT: Final = "text"
"""The payload field of all words."""
KEPT: Final = 8
"""Newest indices of a cache folder; older ones are removed when another is built."""
_LEFT_SECONDS: Final = 86_400.0
_FORMAT: Final = 1
_MARKER: Final = "whole.json"
_SHARD: Final = "shard"
_REWRITTEN: Final = frozenset({"edge_config.json", "segment.json", "tracker_journal.dat"})
"""Files that are written whenever an index is opened or closed; damage to them shows then."""


class _Whole(Contract):
    format_version: int
    points: int
    files: dict[str, str]


def package_version(package: str = PACKAGE) -> str:
    """Of qdrant-edge. Raises BackendMissing, which names the extra."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise _missing(package, "is not installed") from error


def _missing(package: str, said: str) -> BackendMissing:
    return BackendMissing(f"{package} {said}", "engine.qdrant", "pip install 'ecm[evaluate]'")


def qdrant_package() -> Any:
    """The package. Raises BackendMissing where it cannot be loaded."""
    try:
        return importlib.import_module("qdrant_edge")
    except ImportError as error:
        raise _missing(PACKAGE, f"cannot be loaded: {error}") from error


def index_name(corpus: Corpus, config: OpenSourceConfig) -> str:
    """The folder of an index: of this snapshot and tenant, built this way by this release."""
    decides = [
        _FORMAT,
        package_version(),
        corpus.tenant_id,
        sorted(corpus.fingerprints.items()),
        [config.hnsw_m, config.hnsw_ef_construct, config.full_scan_kb],
    ]
    return f"{corpus.snapshot_id}-{digest(decides)[:16]}"


def open_index(
    corpus: Corpus,
    config: OpenSourceConfig,
    cache: Path,
    on_build: Callable[[str], None] = lambda reason: None,
) -> Any:
    """The `EdgeShard` with all assets of a corpus; a point's id is the place of its asset.

    `on_build` is told why it is built. Raises BackendMissing, StoreUnavailable.
    """
    qdrant_package()
    folder = cache / index_name(corpus, config)
    reason = _defect(folder, len(corpus.ids))
    if not reason:
        try:
            shard = _load(folder / _SHARD)
            if shard.info().points_count == len(corpus.ids):
                return shard
            shard.close()
            reason = "it has another number of points"
        except Exception as error:  # noqa: BLE001 - the package raises nothing narrower
            reason = f"it cannot be opened: {error}"
    on_build(reason)
    try:
        _build(corpus, config, folder)
        return _load(folder / _SHARD)
    except OSError as error:
        raise StoreUnavailable(f"cannot write the index {folder}: {error.strerror}") from error


def _load(folder: Path) -> Any:
    return qdrant_package().EdgeShard.load(str(folder))


def _defect(folder: Path, points: int) -> str:
    """Why an index cannot be used; empty: it is whole."""
    try:
        whole = _Whole.model_validate_json((folder / _MARKER).read_bytes())
    except FileNotFoundError:
        return "there is none yet"
    except (OSError, ValidationError):
        return "its list of files is damaged"
    if whole.format_version != _FORMAT or whole.points != points:
        return "it is of other assets or an older release"
    return "" if _files(folder / _SHARD) == whole.files else "its files are damaged"


def _build(corpus: Corpus, config: OpenSourceConfig, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    apart = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (apart / _SHARD).mkdir()
        _fill(corpus, config, apart / _SHARD)
        whole = _Whole(format_version=_FORMAT, points=len(corpus.ids), files=_files(apart / _SHARD))
        (apart / _MARKER).write_text(whole.model_dump_json(), encoding="utf-8")
        _put(apart, folder, len(corpus.ids))
        _tidy(folder.parent)
    finally:
        shutil.rmtree(apart, ignore_errors=True)


def _tidy(folder: Path) -> None:
    """Leave the newest indices, and nothing that a process which was killed has left."""
    whole = sorted(
        (one for one in folder.iterdir() if not one.name.startswith(".")),
        key=lambda one: one.stat().st_mtime,
    )
    newest = whole[-1].stat().st_mtime if whole else 0.0
    left = [
        one
        for one in folder.iterdir()
        if one.name.startswith(".") and newest - one.stat().st_mtime > _LEFT_SECONDS
    ]
    for one in (*whole[:-KEPT], *left):
        shutil.rmtree(one, ignore_errors=True)


def _put(apart: Path, folder: Path, points: int) -> None:
    """In place of what is there, unless another process has put a whole one there meanwhile."""
    if folder.exists():
        if not _defect(folder, points):
            return
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        folder.rename(aside / _SHARD)
        shutil.rmtree(aside)
    try:
        apart.rename(folder)
    except OSError:
        if _defect(folder, points):
            raise


def _fill(corpus: Corpus, config: OpenSourceConfig, folder: Path) -> None:
    qdrant = qdrant_package()
    graph = qdrant.HnswIndexConfig(
        m=config.hnsw_m,
        ef_construct=config.hnsw_ef_construct,
        full_scan_threshold=config.full_scan_kb,
    )
    fields = {
        field.value: qdrant.EdgeVectorParams(
            size=column.vectors.shape[1], distance=qdrant.Distance.Dot
        )
        for field, column in corpus.columns.items()
    }
    settings = qdrant.EdgeConfig(vectors=fields, hnsw_config=graph, wal_enabled=False)
    shard = qdrant.EdgeShard.create(str(folder), settings)
    words = qdrant.TextIndexParams(
        tokenizer=qdrant.TokenizerType.Word,
        lowercase=True,
        ascii_folding=True,
        stopwords=qdrant.Language.English,
        stemmer=qdrant.SnowballParams(qdrant.SnowballLanguage.English),
        scoring=True,
    )
    shard.update(qdrant.UpdateOperation.create_field_index(TEXT, words))
    rows = {
        field: dict(zip(column.rows.tolist(), range(len(column.rows)), strict=True))
        for field, column in corpus.columns.items()
    }
    # One at a time, which takes no longer: within a batch they are stored in any order, and equal
    # scores are found in the order of storing.
    for place, text in enumerate(corpus.texts):
        vectors = {
            field.value: corpus.columns[field].vectors[row].tolist()
            for field, places in rows.items()
            if (row := places.get(place)) is not None
        }
        point = qdrant.Point(place, vectors, {TEXT: text})
        shard.update(qdrant.UpdateOperation.upsert_points([point]))
    shard.optimize()
    shard.flush()
    shard.close()


def _files(folder: Path) -> dict[str, str]:
    """sha256 of every file that stays as it was built, by its place in the folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in _REWRITTEN:
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(
                    file, "sha256"
                ).hexdigest()
    return found
