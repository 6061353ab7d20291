"""Who holds a lease: one process, told apart from every other that ever ran.

An incarnation id names boot and process namespace, process and start time, so that another process
on the same machine can prove its holder dead. Knows the process table; knows no ledger.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = "/proc/self/ns/pid"


@dataclass(frozen=True)
class Incarnation:
    """boot and process namespace, process id, start time (whole seconds), and a random suffix."""

    boot: str
    pid: int
    started: int
    nonce: str

    def __str__(self) -> str:
        return f"{self.boot}/{self.pid}/{self.started}/{self.nonce}"

    @classmethod
    def here(cls) -> Incarnation:
        """The running process."""
        return cls(_boot(), os.getpid(), _start_time(os.getpid()) or 0, uuid.uuid4().hex[:12])


def is_proven_dead(holder: str) -> bool:
    """Whether the holder ran on this machine and does not any more.

    False whenever there is room for doubt: another machine, an unreadable id, or no boot id to
    compare.
    A holder from an earlier boot of another machine looks like another machine: its lease must
    expire.
    """
    parts = holder.split("/")
    if len(parts) != 4 or not parts[1].isdigit() or not parts[2].isdigit():
        return False
    if not parts[0] or parts[0] != _boot():
        return False
    started = _start_time(int(parts[1]))
    return started is None or abs(started - int(parts[2])) > 1


def _boot() -> str:
    """Names this boot and the process numbers it is seen with: a container has its own."""
    try:
        numbers = os.readlink(_PID_NAMESPACE).strip("pid:[]")
        return f"{_BOOT_ID.read_text().strip()}.{numbers}"
    except OSError:
        return ""


def _start_time(pid: int) -> int | None:
    """Start time of a live process, None when there is none; a zombie holds nothing."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return int(process.create_time())
    except psutil.NoSuchProcess:
        return None
