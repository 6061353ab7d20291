"""Local copies of snapshots on S3: whole, right, shared, bounded; never something else."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ecm.contracts.result import Space
from ecm.contracts.search import Axis
from ecm.errors import StoreCorrupt, StoreUnavailable
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotPolicy, SnapshotRef
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.snapshot_files import SnapshotFiles, read_files
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import MV, OCR, START, VISION, VV, X, everything, vector_of
from tests.object_server import ObjectServer
from tests.object_trouble import Request, Trouble, TroubledServer

POLICY = SnapshotPolicy(
    transforms={Axis.FTS: (VISION, OCR), Axis.VV: (VV,), Axis.X: (X,), Axis.MV: (MV,)}
)


@pytest.fixture(scope="module")
def trouble(object_server: ObjectServer) -> Iterator[TroubledServer]:
    with TroubledServer(object_server.endpoint) as server:
        yield server


@pytest.fixture(scope="module")
def made(object_server: ObjectServer) -> tuple[EvidenceConfig, SnapshotRef, SnapshotRef]:
    """A store with two snapshots, the second extends the first where it can."""
    config = object_server.config()
    store = EvidenceStore.create(config, START)
    committer, snapshots = EvidenceCommitter(store), SnapshotStore(store)
    committer.append("b1", [e for n in range(40) for e in everything(n, "dog", "sea")])
    first = snapshots.build(POLICY, START)
    committer.append("b2", everything(99, "cat"))
    second = snapshots.build(POLICY, START + 60)
    return config, first, second


@pytest.fixture
def opened(
    made: tuple[EvidenceConfig, SnapshotRef, SnapshotRef],
    object_server: ObjectServer,
    trouble: TroubledServer,
    tmp_path: Path,
) -> Callable[..., EvidenceStore]:
    """The store, reached through the proxy, with a cache of its own below `tmp_path`."""
    trouble.plan = lambda request: None
    trouble.requests.clear()

    def store(**settings: Any) -> EvidenceStore:
        settings = {"cache_folder": tmp_path / "cache", **settings}
        return EvidenceStore.open(object_server.config(made[0].uri, trouble.endpoint, **settings))

    return store


def _answer(store: EvidenceStore, ref: SnapshotRef) -> tuple[SnapshotReader, list[object]]:
    reader = SnapshotReader.open(store, ref)
    said: list[object] = [reader.search_text("t", "dog", {"caption": 1.0, "name": 1.0}, 50)]
    said.append(reader.search_vectors("t", Axis.VV, vector_of(Space.VV, 7), 5))
    return reader, said


def _listed(store: EvidenceStore, ref: SnapshotRef) -> SnapshotFiles:
    listed = read_files(store, ref)
    assert listed is not None
    return listed


def _fetched(trouble: TroubledServer) -> list[str]:
    """Files of tables that were read from the server, in order."""
    return [
        request.path
        for request in trouble.requests
        if request.method == "GET" and ".lance/" in request.path and "list-type" not in request.path
    ]


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".lance" in str(path)
    }


def test_a_copy_answers_as_the_store_does_and_is_fetched_once(
    made: tuple[EvidenceConfig, SnapshotRef, SnapshotRef],
    opened: Callable[..., EvidenceStore],
    trouble: TroubledServer,
    tmp_path: Path,
) -> None:
    _, first, second = made
    for ref in (first, second):
        _, remote = _answer(opened(cache_bytes=0), ref)
        trouble.requests.clear()
        _, said = _answer(opened(), ref)
        assert said == remote
        fetched = _fetched(trouble)
        assert len(set(fetched)) == len(fetched)
        trouble.requests.clear()
        _, again = _answer(opened(), ref)
        assert again == remote
        assert _fetched(trouble) == []
    names = {file.name for ref in (first, second) for file in _listed(opened(), ref).files}
    assert len(_files(tmp_path / "cache")) == len(names)


def test_files_that_two_versions_share_are_fetched_once(
    made: tuple[EvidenceConfig, SnapshotRef, SnapshotRef],
    opened: Callable[..., EvidenceStore],
    trouble: TroubledServer,
) -> None:
    _, first, second = made
    store = opened()
    shared = {file.name for file in _listed(store, first).files}
    new = {file.name for file in _listed(store, second).files} - shared
    _answer(store, first)
    trouble.requests.clear()
    _answer(store, second)
    assert len(_fetched(trouble)) == len(new)


def test_what_broke_off_is_gone_on_with(
    made: tuple[EvidenceConfig, SnapshotRef, SnapshotRef],
    opened: Callable[..., EvidenceStore],
    trouble: TroubledServer,
    tmp_path: Path,
) -> None:
    _, first, _ = made
    _, remote = _answer(opened(cache_bytes=0), first)
    trouble.requests.clear()
    seen: list[str] = []

    def plan(request: Request) -> Trouble | None:
        seen.extend([request.path] if "_indices" in request.path else [])
        return Trouble.CUT if len(seen) > 4 else None

    trouble.plan = plan
    with pytest.raises(StoreUnavailable):
        _answer(opened(object_attempts=1), first)
    there = _files(tmp_path / "cache")
    trouble.plan = lambda request: None
    assert 0 < len(there) < len(_listed(opened(), first).files)
    trouble.requests.clear()
    _, said = _answer(opened(), first)
    assert said == remote
    assert len(_fetched(trouble)) == len(_listed(opened(), first).files) - len(there)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_copy_is_fetched_again(
    made: tuple[EvidenceConfig, SnapshotRef, SnapshotRef],
    opened: Callable[..., EvidenceStore],
    tmp_path: Path,
    damage: str,
) -> None:
    _, first, _ = made
    _, said = _answer(opened(), first)
    whole = _files(tmp_path / "cache")
    for name in whole:
        path = tmp_path / "cache" / name
        data = bytearray(whole[name])
        data[len(data) // 2] ^= 1
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(data if damage == "flip" else data[:-3])
    assert _answer(opened(), first)[1] == said
    assert _files(tmp_path / "cache") == whole


def test_without_a_folder_that_can_be_written_the_store_itself_is_read(
    made: tuple[EvidenceConfig, SnapshotRef, SnapshotRef],
    opened: Callable[..., EvidenceStore],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, first, _ = made
    (tmp_path / "file").write_bytes(b"")
    _, said = _answer(opened(cache_folder=tmp_path / "file" / "cache"), first)
    assert said == _answer(opened(cache_bytes=0), first)[1]
    assert "is read from afar" in caplog.text
    assert _answer(opened(cache_bytes=100), first)[1] == said
    assert "does not fit" in caplog.text
    assert _answer(opened(cache_folder=None), first)[1] == said


@pytest.mark.parametrize("damage", ["flip", "gone"])
def test_what_is_damaged_in_the_store_is_never_served(
    object_server: ObjectServer, tmp_path: Path, damage: str
) -> None:
    config = object_server.config(cache_folder=tmp_path)
    store = EvidenceStore.create(config, START)
    EvidenceCommitter(store).append("b1", everything("a", "dog"))
    ref = SnapshotStore(store).build(POLICY, START)
    data = next(file for file in _listed(store, ref).files if "/data/" in file.name)
    bucket, prefix = config.uri.split("/", 3)[2:]
    key = {"Bucket": bucket, "Key": f"{prefix}/{data.name}"}
    raw = bytearray(object_server.client.get_object(**key)["Body"].read())
    raw[len(raw) // 2] ^= 1
    if damage == "gone":
        object_server.client.delete_object(**key)
    else:
        object_server.client.put_object(**key, Body=bytes(raw))
    with pytest.raises(StoreCorrupt, match="missing or damaged") as caught:
        SnapshotReader.open(store, ref)
    assert data.name in str(caught.value)
    assert not any("/data/" in name for name in _files(tmp_path))


def test_the_cache_stays_in_its_bounds_and_keeps_what_is_read(
    object_server: ObjectServer, tmp_path: Path
) -> None:
    config = object_server.config()
    store = EvidenceStore.create(config, START)
    refs, sizes = [], []
    for number in range(3):
        EvidenceCommitter(store).append(f"b{number}", everything(number, "dog"))
        policy = POLICY.model_copy(update={"others": "never" if number % 2 else "last"})
        refs.append(SnapshotStore(store).build(policy, START + number))
        sizes.append(_listed(store, refs[-1]).size)
    two = EvidenceStore.open(
        object_server.config(
            config.uri, cache_folder=tmp_path / "cache", cache_bytes=sizes[1] + sizes[2]
        )
    )
    folder = tmp_path / "cache"
    old, _ = _answer(two, refs[0])
    del old
    _answer(two, refs[1])
    reader, said = _answer(two, refs[2])
    assert sum(map(len, _files(folder).values())) <= sizes[1] + sizes[2]
    one = EvidenceStore.open(
        object_server.config(config.uri, cache_folder=folder, cache_bytes=sizes[2])
    )
    before = _files(folder)
    _answer(one, refs[0])
    kept = {name for name in _files(folder) if name in before}
    assert {file.name for file in _listed(one, refs[2]).files} <= {
        name.partition("/")[2] for name in kept
    }, "what is open stays, and the other is read from afar"
    assert reader.search_text("t", "dog", {"caption": 1.0, "name": 1.0}, 50) == said[0]
    del reader
    _answer(one, refs[2])
    assert sum(map(len, _files(folder).values())) <= sizes[2]


def _open_elsewhere(uri: str, options: dict[str, str], folder: str, start: Any, told: Any) -> None:
    config = EvidenceConfig(uri=uri, storage_options=options, cache_folder=Path(folder))
    store = EvidenceStore.open(config)
    (ref, *_) = SnapshotStore(store).list()
    start.wait(60)
    told.put(_answer(store, ref)[1])


def test_processes_may_share_the_folder(
    made: tuple[EvidenceConfig, SnapshotRef, SnapshotRef],
    object_server: ObjectServer,
    tmp_path: Path,
) -> None:
    config, _, second = made
    options = {name: value.get_secret_value() for name, value in config.storage_options.items()}
    spawning = multiprocessing.get_context("spawn")
    start, told = spawning.Barrier(2), spawning.Queue()
    arguments = (config.uri, options, str(tmp_path / "cache"), start, told)
    processes = [spawning.Process(target=_open_elsewhere, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    answers = [told.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    remote = EvidenceStore.open(object_server.config(config.uri, cache_bytes=0))
    assert answers == [_answer(remote, second)[1]] * 2
