"""`ecm status`: the queue at one moment, or again and again.

Knows how a status is said in JSON, in Prometheus' text and in tables; the numbers are the ledger's.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ecm.config import Profile
from ecm.errors import ConfigError, EcmError, Forbidden, TransientError
from ecm.ledger.records import Held, LiveHolder
from ecm.ledger.reports import LedgerStatus
from jobs.cli_ledger import existing_ledger
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    open_profile,
    printable,
    table_of,
)

if TYPE_CHECKING:
    from ecm.evidence.rollouts import Rollout

SHOWN_WORKERS = 12
"""Workers and holders in the table; JSON and Prometheus have all."""


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command()(status)


def status(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Metrics in Prometheus' text format.")
    ] = False,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="Of all tenants, for the operator.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option(help="Seconds between two looks with --watch.", min=0.1)
    ] = 2.0,
) -> None:
    """Queue depth, oldest lease, latency, throughput, failures, dead letters and who works.

    Rates and latencies are over the last five minutes (ledger.metrics_window).
    """
    settings = open_profile(profile, home, overrides, tenant)
    if as_json and prometheus:
        raise ConfigError("--json or --prometheus, not both", "status.format")
    right = _right_to_commit(settings)
    rollouts = _rollouts(settings)
    quarantined = _quarantined(settings, None if all_tenants else settings.tenant)
    with existing_ledger(settings) as ledger:
        mine = ledger if all_tenants else ledger.scoped(settings.tenant)

        def look() -> Look:
            return Look(mine, ledger, right, rollouts(), quarantined())

        if prometheus:
            _repeat(lambda: _write_metrics(look(), rollouts()), watch, every)
        elif watch and not as_json:
            _live(lambda: _tables(look().to_json()), every)
        else:
            _repeat(lambda: _emit(look().to_json(), as_json), watch, every)


class Look:
    """What the ledger says now of one tenant or all, and who may commit to the store."""

    def __init__(
        self,
        mine: Any,
        ledger: Any,
        right: str | None,
        rollouts: tuple[Rollout, ...] = (),
        quarantined: int | None = None,
    ) -> None:
        self.quarantined = quarantined
        self.rollout = rollouts[-1] if rollouts and rollouts[-1].open else None
        self.at: float = mine.now()
        self.status: LedgerStatus = mine.status(self.at)
        self.holders: tuple[LiveHolder, ...] = mine.live_holders(self.at)
        self.committer = _committer(ledger, right)

    def to_json(self) -> dict[str, Any]:
        now, latency = self.status, self.status.latency_ms
        held = self.committer if self.committer and self.committer.expires_at > self.at else None
        return {
            "rollout": self.rollout and {
                "rollout_id": self.rollout.rollout_id,
                "state": self.rollout.state.value,
                "pct": self.rollout.pct,
                "from": self.rollout.terms.old,
                "to": self.rollout.terms.new,
            },
            "open_quarantines": self.quarantined,
            "queue": {state.value: count for state, count in now.states.items()},
            "oldest_lease_seconds": now.oldest_lease_seconds,
            "latency_ms": asdict(latency),
            "throughput_per_s": now.throughput_per_s,
            "failure_rate": now.failure_rate,
            "dead_letters": {kind.value: count for kind, count in now.dead_letters.items()},
            "failed": {kind.value: count for kind, count in now.failed.items()},
            "stale": now.stale,
            "depth": [
                {
                    "state": part.state.value,
                    "tenant": part.tenant_id,
                    "priority": part.priority,
                    "tasks": part.tasks,
                }
                for part in now.depth
            ],
            "workers": [
                {
                    "worker": worker.worker,
                    "reported": worker.reported,
                    "failed": {kind.value: count for kind, count in worker.failed.items()},
                    "expired": worker.expired,
                    "failure_rate": worker.failure_rate,
                }
                for worker in now.workers
            ],
            "holders": [
                {
                    "holder": holder.holder,
                    "leases": holder.leases,
                    "tasks": holder.tasks,
                    "progress": holder.progress,
                    "expires_in_seconds": holder.expires_at - self.at,
                }
                for holder in self.holders
            ],
            "committer": held and {
                "holder": held.holder,
                "expires_in_seconds": (
                    held.expires_at - self.at if math.isfinite(held.expires_at) else None
                ),
            },
        }  # fmt: skip


def _right_to_commit(settings: Profile) -> str | None:
    """None where the store cannot be seen from: a worker's machine, or before the first run."""
    from ecm.delivery.tenure import commit_right
    from ecm.evidence.store import EvidenceStore

    try:
        return commit_right(EvidenceStore.open(settings.evidence))
    except EcmError:
        return None


def _committer(ledger: Any, right: str | None) -> Held | None:
    """Who holds the right to commit; a service does not tell a tenant."""
    if right is None:
        return None
    try:
        held: Held | None = ledger.holder_of(right)
    except Forbidden:
        return None
    return held


def _rollouts(settings: Profile) -> Callable[[], tuple[Rollout, ...]]:
    """The rollouts of the store at every look; none where it cannot be seen from."""
    from ecm.evidence.rollouts import all_rollouts
    from ecm.evidence.storage import open_storage

    def look() -> tuple[Rollout, ...]:
        try:
            return all_rollouts(open_storage(settings.evidence))
        except (ConfigError, TransientError):
            return ()

    return look


def _quarantined(settings: Profile, tenant_id: str | None) -> Callable[[], int | None]:
    """How many quarantines are open, at every look; None where the store cannot be seen from."""
    from ecm.evidence.quarantine import open_in
    from ecm.evidence.storage import open_storage

    def look() -> int | None:
        try:
            return len(open_in(open_storage(settings.evidence), tenant_id))
        except (ConfigError, TransientError):
            return None

    return look


def _write_metrics(look: Look, rollouts: tuple[Rollout, ...]) -> None:
    from ecm.delivery.rollout_metrics import rollout_exposition
    from ecm.ledger.exposition import exposition

    told = exposition(look.status, look.holders) + rollout_exposition(rollouts)
    if look.quarantined is not None:
        told += (
            "# HELP ecm_open_quarantines Quarantines that nobody has decided about.\n"
            "# TYPE ecm_open_quarantines gauge\n"
            f"ecm_open_quarantines {look.quarantined}\n"
        )
    sys.stdout.write(told)


def _emit(value: dict[str, Any], as_json: bool) -> None:
    emit(value, as_json, lambda console: console.print(_tables(value)))


def _repeat(show: Callable[[], None], watch: bool, every: float) -> None:
    """Once, or until Ctrl-C."""
    show()
    try:
        while watch:
            sys.stdout.flush()
            time.sleep(every)
            show()
    except KeyboardInterrupt:
        return


def _live(look: Callable[[], RenderableType], every: float) -> None:
    """A table that is redrawn in place; a block each time where there is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        _repeat(lambda: console.print(look()), True, every)
        return
    try:
        with Live(look(), console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                time.sleep(every)
                live.update(look(), refresh=True)
    except KeyboardInterrupt:
        return


def _tables(value: dict[str, Any]) -> Group:
    """The whole status for a person."""
    queue = [[state, count] for state, count in value["queue"].items() if count]
    parts: list[RenderableType] = [
        table_of("tasks", ["state", "count"], queue or [["none", 0]]),
        Text(_sentence(value)),
    ]
    if value["open_quarantines"]:
        line = f"{value['open_quarantines']} quarantines are open: ecm quarantine list"
        parts.append(Text(line))
    if rollout := value["rollout"]:
        models = f"{rollout['from']} → {rollout['to']}"
        line = f"rollout {rollout['rollout_id']} ({models}): {rollout['state']}"
        parts.append(Text(printable(f"{line} at {rollout['pct']} %")))
    depth = [[p["state"], p["tenant"], p["priority"], p["tasks"]] for p in value["depth"]]
    if depth:
        parts.append(table_of("waiting, held or blocked", _DEPTH, depth))
    rates = [
        [w["worker"], w["reported"], _counts(w["failed"]), w["expired"], f"{w['failure_rate']:.1%}"]
        for w in sorted(value["workers"], key=lambda w: -w["failure_rate"])
    ]
    if rates:
        parts.append(_cut("workers, lately", _WORKERS, rates))
    holders = [
        [h["holder"], h["tasks"], h["progress"], f"{h['expires_in_seconds']:.0f} s"]
        for h in value["holders"]
    ]
    if holders:
        parts.append(_cut("holders of leases", _HOLDERS, holders))
    return Group(*parts)


_DEPTH = ["state", "tenant", "priority", "tasks"]
_WORKERS = ["worker", "reported", "failed", "expired", "failure rate"]
_HOLDERS = ["holder", "tasks held", "progress", "lease ends in"]


def _cut(title: str, columns: list[str], rows: list[list[object]]) -> RenderableType:
    more = len(rows) - SHOWN_WORKERS
    table = table_of(title, columns, rows[:SHOWN_WORKERS])
    return Group(table, Text(f"and {more} more")) if more > 0 else table


def _sentence(value: dict[str, Any]) -> str:
    oldest = value["oldest_lease_seconds"]
    times = ", ".join(
        f"{name} {'-' if ms is None else f'{ms:.0f} ms'}"
        for name, ms in value["latency_ms"].items()
    )
    committer = value["committer"]
    return "\n".join(
        [
            f"oldest lease: {'none' if oldest is None else f'{oldest:.0f} s'}",
            f"latency: {times}; {value['throughput_per_s']:.1f} tasks/s",
            f"failure rate {value['failure_rate']:.1%} ({_counts(value['failed'])}); "
            f"stale results refused: {value['stale']}",
            f"dead letters: {_counts(value['dead_letters'])}",
            f"committer: {printable(committer['holder']) if committer else 'none'}",
        ]
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} {number}" for kind, number in counts.items() if number) or "none"
