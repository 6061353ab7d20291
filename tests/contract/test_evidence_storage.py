"""What a store may expect of the place it lies in: the same on a disk and on S3."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

import lance
import pyarrow as pa
import pytest

from ecm.errors import ContractError, EcmError
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.storage import ASIDE, BLOCK_BYTES, Extent, Storage, open_storage
from tests.object_server import PAGE

RACERS = 4
SCHEMA = pa.schema([pa.field("key", pa.string())])


@pytest.fixture
def storage(evidence_config: Callable[..., EvidenceConfig]) -> Storage:
    return open_storage(evidence_config())


def _table(storage: Storage, name: str, *keys: str) -> None:
    table = pa.table({"key": list(keys)}, schema=SCHEMA)
    options = storage.lance_options
    lance.write_dataset(
        table,
        storage.location(name),
        storage_options=None if options is None else dict(options),
    )


def _keys(storage: Storage, name: str) -> list[str]:
    options = storage.lance_options
    dataset = lance.dataset(
        storage.location(name), storage_options=None if options is None else dict(options)
    )
    keys: list[str] = dataset.to_table()["key"].to_pylist()
    return keys


def _everything(storage: Storage, name: str = "") -> list[str]:
    """All names below one, deepest included."""
    found: list[str] = []
    for child in storage.children(name):
        below = f"{name}/{child}" if name else child
        found += _everything(storage, below) or [below]
    return found


def test_what_was_put_is_read_and_replaced_as_a_whole(storage: Storage) -> None:
    assert storage.read("deep/er/a.json") is None
    for data in (b"", b"{}", bytes(range(256)) * 50):
        storage.put("deep/er/a.json", data)
        assert storage.read("deep/er/a.json") == data
    assert _everything(storage) == ["deep/er/a.json"]


def test_an_object_is_created_once(storage: Storage) -> None:
    assert storage.put_new("a/b.json", b"first")
    assert not storage.put_new("a/b.json", b"second")
    assert not storage.put_new("a/b.json", b"first")
    assert storage.read("a/b.json") == b"first"
    storage.remove("a/b.json")
    assert storage.put_new("a/b.json", b"third")
    storage.check_promises()
    assert storage.children(ASIDE) == ()
    assert storage.read("a/b.json") == b"third"


def test_of_threads_that_create_one_object_one_succeeds(storage: Storage) -> None:
    start, won = threading.Barrier(RACERS), []

    def create(number: int, name: str) -> None:
        start.wait()
        if storage.put_new(name, f"{number}".encode()):
            won.append((name, number))

    for round_ in range(3):
        name = f"races/{round_}.json"
        threads = [threading.Thread(target=create, args=(n, name)) for n in range(RACERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [number for of, number in won if of == name]
        assert len(winners) == 1
        assert storage.read(name) == f"{winners[0]}".encode()


def _race(config: str, secrets: dict[str, str], number: int, start: Barrier, told: Any) -> None:
    place = EvidenceConfig.model_validate(json.loads(config) | {"storage_options": secrets})
    storage = open_storage(place)
    _table(storage, f"{ASIDE}/{number}.lance", f"{number}")
    start.wait(60)
    created = storage.put_new("race.json", f"{number}".encode())
    start.wait(60)
    moved = storage.move_new(f"{ASIDE}/{number}.lance", "tables/race.lance")
    told.put((number, created, moved))


def test_of_processes_that_create_one_object_or_table_one_succeeds(
    evidence_config: Callable[..., EvidenceConfig],
) -> None:
    config = evidence_config()
    secrets = {name: value.get_secret_value() for name, value in config.storage_options.items()}
    spawning = multiprocessing.get_context("spawn")
    start, told = spawning.Barrier(2), spawning.Queue()
    processes = [
        spawning.Process(target=_race, args=(config.model_dump_json(), secrets, n, start, told))
        for n in range(2)
    ]
    for process in processes:
        process.start()
    said = [told.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    storage = open_storage(config)
    created = [f"{number}" for number, first, _ in said if first]
    moved = [f"{number}" for number, _, first in said if first]
    assert storage.read("race.json") == "".join(created).encode()
    assert _keys(storage, "tables/race.lance") == moved
    assert storage.children(ASIDE) == ()


def test_a_new_table_comes_into_place_whole_and_once(storage: Storage) -> None:
    _table(storage, f"{ASIDE}/one.lance", "one")
    _table(storage, f"{ASIDE}/two.lance", "two")
    assert storage.move_new(f"{ASIDE}/one.lance", "tables/t.lance")
    assert not storage.move_new(f"{ASIDE}/two.lance", "tables/t.lance")
    assert _keys(storage, "tables/t.lance") == ["one"]
    assert storage.children(ASIDE) == ()
    assert storage.children("tables") == ("t.lance",)


def test_children_are_direct_sorted_and_of_this_name_only(storage: Storage) -> None:
    assert storage.children("") == ()
    assert storage.children("a") == ()
    for name in ("a/c.json", "a/b/x.json", "a/b/y/z.json", "a/B.json", "ab/c.json", "a.json"):
        storage.put(name, b"x")
    assert storage.children("a") == ("B.json", "b", "c.json")
    assert storage.children("a/b") == ("x.json", "y")
    assert storage.children("") == ("a", "a.json", "ab")


def test_removing_takes_an_object_or_all_below_and_no_neighbour(storage: Storage) -> None:
    for name in ("a/c.json", "a/b/x.json", "ab/c.json", "a.json"):
        storage.put(name, b"x")
    storage.remove("a/c.json")
    assert _everything(storage) == ["a/b/x.json", "a.json", "ab/c.json"]
    storage.remove("a")
    storage.remove("a")
    assert _everything(storage) == ["a.json", "ab/c.json"]
    assert storage.read("a/b/x.json") is None


def test_an_extent_counts_what_lies_at_a_name_and_below(storage: Storage) -> None:
    assert storage.extent("a") == Extent(0, 0)
    for name, size in (("a/b", 3), ("a/c/d", 4), ("ab", 5)):
        storage.put(name, bytes(size))
    extent = storage.extent("a")
    assert extent.size == 7
    assert extent.modified > 1_700_000_000
    assert storage.extent("ab").size == 5


def test_blocks_are_the_bytes_in_order(storage: Storage) -> None:
    assert list(storage.blocks("none")) == []
    for size in (0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES + 7):
        data = (b"0123456789" * (size // 10 + 1))[:size]
        storage.put("a/large", data)
        blocks = list(storage.blocks("a/large"))
        assert b"".join(blocks) == data
        assert all(len(block) <= BLOCK_BYTES for block in blocks)


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/../b", "/etc/passwd", "a//b", ".hidden", "a/.x", "a b", "a\nb"]
)
def test_names_stay_inside(storage: Storage, name: str) -> None:
    acts: list[Callable[[], object]] = [
        lambda: storage.read(name),
        lambda: storage.put(name, b""),
        lambda: storage.put_new(name, b""),
        lambda: storage.remove(name),
        lambda: storage.location(name),
        lambda: list(storage.blocks(name)),
    ]
    if name:
        acts.append(lambda: storage.children(name))
    for act in acts:
        with pytest.raises(ContractError, match="not a name"):
            act()


@pytest.mark.parametrize("evidence_config", ["s3"], indirect=True)
def test_a_listing_of_more_than_a_page_is_whole(storage: Storage) -> None:
    numbers = range(2 * PAGE + 3)
    for number in numbers:
        storage.put(f"many/{number:05d}", b"")
    assert storage.children("many") == tuple(f"{number:05d}" for number in numbers)
    storage.remove("many")
    assert storage.children("many") == ()


@pytest.mark.parametrize("evidence_config", ["s3"], indirect=True)
def test_what_is_no_new_table_is_not_moved(storage: Storage) -> None:
    storage.put(f"{ASIDE}/x/a.json", b"")
    with pytest.raises(EcmError, match="not a new table"):
        storage.move_new(f"{ASIDE}/x", "tables/x.lance")
