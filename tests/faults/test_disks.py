"""Full disks under the spool, the ledger and the store: a named error, and nothing is lost.

Small file systems in memory where the machine lets us mount them; elsewhere a limit on the size of
files, which fails in the same places with another number.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fault_harness import FINISHED
from tests.fault_victim import Order
from tests.faults.conftest import MakeChain

SIZE = 64 * 2**20
LEFT = {"spool": 4_096, "ledger": 4_096, "store": 4_096}
LARGEST = {"spool": 2_000, "ledger": 100_000, "store": 2_000}
"""Bytes: what is left on the full disk, and the largest file where nothing can be mounted."""
NAMED = {
    "spool": {"resource", "store.unavailable"},
    "ledger": {"ledger.disk_full", "ledger.io"},
    "store": {"resource", "store.corrupt", "store.unavailable"},
}


@pytest.mark.parametrize("place", sorted(LEFT))
def test_a_full_disk_is_named_and_nothing_is_lost(place: str, make_chain: MakeChain) -> None:
    chain = make_chain()
    with small_disk(Path(chain.order.home) / place) as disk:
        chain.grow()
        chain.finish()
        chain.grow()
        with filled(disk, LEFT[place], chain.order, LARGEST[place]) as order:
            outcome = chain.run(order)
        assert outcome in NAMED[place]
        assert chain.run() == FINISHED
        verdict = chain.verdict()
        assert verdict.clean, verdict


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of SIZE bytes at the folder, or None where nobody may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(disk: Path | None, left: int, order: Order, largest: int) -> Iterator[Order]:
    """Until the end no more than `left` bytes can be written there; the order to use meanwhile."""
    if disk is None:
        yield replace(order, largest_file=largest)
        return
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            stream.truncate(stream.tell() - left)
    yield order
    filler.unlink()
