"""Snapshots as commands show them: plain values for `--json` and tables for people.

Knows how references, pins and differences are told; opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from ecm.contracts.search import Axis
from ecm.evidence.difference import FIELDS, Difference, Example, Told
from ecm.evidence.pins import Held
from ecm.evidence.refs import Published, SnapshotRef
from jobs.edge import printable, table_of, utc

DIGITS = 12
"""Of a fingerprint, for people; as in the names of tables."""


def item_of(
    ref: SnapshotRef,
    published: Published | None,
    pins: Iterable[Held],
    tenant: str | None,
    now: float,
) -> dict[str, Any]:
    """One snapshot in a list; with a tenant only that one's assets are counted."""
    live = [held for held in pins if held.snapshot_id == ref.snapshot_id and held.is_live(now)]
    return {
        "snapshot_id": ref.snapshot_id,
        "published": published is not None and published.current.snapshot_id == ref.snapshot_id,
        "created_at": ref.created_at,
        "age_seconds": round(max(0.0, now - ref.created_at), 3),
        "assets": ref.assets if tenant is None else ref.tenants.get(tenant, 0),
        "parent": ref.lineage.base,
        "transforms": {axis.value: list(marks) for axis, marks in ref.transforms.items()},
        "pins": len(live),
        "measurements": ref.measurements.model_dump(mode="json"),
    }


def whole_of(
    ref: SnapshotRef,
    published: Published | None,
    pins: Sequence[Held],
    tenant: str | None,
    now: float,
) -> dict[str, Any]:
    """Everything on record about a snapshot; with a tenant nothing about the others."""
    policy = ref.policy.model_dump(mode="json")
    tenants = dict(ref.tenants)
    if tenant is not None:
        tenants = {tenant: tenants.get(tenant, 0)}
        policy["tenants"] = {k: v for k, v in policy["tenants"].items() if k == tenant}
    return {
        **item_of(ref, published, pins, tenant, now),
        "tenants": tenants,
        "dims": {axis.value: dim for axis, dim in ref.dims.items()},
        "policy": policy,
        "policy_digest": ref.policy_digest,
        "lineage": ref.lineage.model_dump(mode="json"),
        "quarantines": list(ref.quarantines),
        "table": ref.table,
        "version": ref.version,
        "evidence_versions": dict(ref.evidence_versions),
        "publications": publications_of(ref.snapshot_id, published),
        "readers": [
            {
                "reader": held.reader,
                "holder": held.pin.holder,
                "expires_at": held.pin.expires_at,
                "live": held.is_live(now),
            }
            for held in pins
            if held.snapshot_id == ref.snapshot_id
        ],
    }


def publications_of(snapshot_id: str, published: Published | None) -> list[dict[str, Any]]:
    """When it was served, oldest first; `until` is None for the time that has not ended."""
    if published is None:
        return []
    log = published.publications()
    ends: list[float | None] = [*(one.at for one in log[1:]), None]
    return [
        {"at": one.at, "until": end}
        for one, end in zip(log, ends, strict=True)
        if one.snapshot_id == snapshot_id
    ]


def show_whole(console: Console, value: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """`names` are those of models by fingerprint, as far as this profile knows them."""
    measured = value["measurements"]
    rows: list[list[object]] = [
        ["snapshot", value["snapshot_id"] + (" (published)" if value["published"] else "")],
        ["created", moment(value["created_at"])],
        ["built from", value["parent"] or f"anew ({value['lineage']['reason'] or 'no base'})"],
        ["table, version", f"{value['table']}, {value['version']}"],
        ["assets", value["assets"]],
    ]
    rows += [["  of tenant " + tenant, count] for tenant, count in value["tenants"].items()]
    for axis, marks in value["transforms"].items():
        told = ", ".join(f"{mark[:DIGITS]} {names.get(mark, '')}".rstrip() for mark in marks)
        dim = f" ({value['dims'][axis]} dimensions)" if axis in value["dims"] else ""
        rows.append([axis, (told or "none") + dim])
    rows.append(["policy", _policy(value["policy"])])
    rows += [[f"coverage {name}", f"{share:.1%}"] for name, share in measured["coverage"].items()]
    rows += [[f"neighbours {name}", f"{n:.1%}"] for name, n in measured["neighbours"].items()]
    rows += [[f"queries {name}", f"{n:.1%}"] for name, n in measured["queries"].items()]
    rows.append(["left out", f"{measured['superseded']} assets that lie nowhere any more"])
    if value["quarantines"]:
        named = ", ".join(value["quarantines"])
        rows.append(["left out", f"{measured['quarantined']} rows quarantined by {named}"])
    rows += [["does not measure up", short["message"]] for short in measured["shortfalls"]]
    for one in value["publications"]:
        rows.append(["served", f"{moment(one['at'])} until {moment(one['until'])}"])
    rows += [
        ["read by", f"{r['holder']} until {moment(r['expires_at'])}"] for r in value["readers"]
    ]
    console.print(table_of("", ["", ""], rows))


def show_difference(console: Console, found: Difference) -> None:
    before, after = found.before, found.after
    console.print(
        f"from {before.snapshot_id} ({before.assets} assets) "
        f"to {after.snapshot_id} ({after.assets} assets)"
    )
    tenants: list[list[object]] = [
        [name, t.before, t.after, t.added, t.removed, t.changed]
        for name, t in found.tenants.items()
    ]
    columns = ["tenant", "before", "after", "added", "removed", "changed"]
    console.print(table_of("assets", columns, tenants))
    fields: list[list[object]] = [[field, found.fields[field]] for field in FIELDS]
    console.print(table_of("assets in both whose …  differs", ["", "assets"], fields))
    axes: list[list[object]] = [
        [axis.value, _marks(c.before), _marks(c.after)]
        + (["", "", ""] if axis is Axis.FTS else [c.replaced, c.gained, c.lost])
        for axis, c in found.axes.items()
    ]
    columns = ["axis", "transforms before", "after", "vectors replaced", "gained", "lost"]
    console.print(table_of("axes", columns, axes))
    for example in found.examples:
        for line in _lines(example):
            console.print(printable(line), markup=False)


def moment(at: float | None) -> str:
    return "now" if at is None else f"{utc(at)} UTC"


def age(seconds: float) -> str:
    """Seconds in the largest unit that tells enough."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _policy(policy: Mapping[str, Any]) -> str:
    told = [f"others {policy['others']}"]
    if policy["min_confidence"] is not None:
        told.append(f"confidence at least {policy['min_confidence']}")
    if policy["evidence_since"] is not None:
        told.append(f"evidence since {moment(policy['evidence_since'])}")
    if policy["apart"]:
        told.append(f"{len(policy['apart'])} transforms kept apart")
    if policy["tenants"]:
        told.append(f"of their own: {', '.join(policy['tenants'])}")
    return "; ".join(told)


def _marks(marks: Sequence[str]) -> str:
    return ", ".join(mark[:DIGITS] for mark in marks) or "none"


def _lines(example: Example) -> list[str]:
    told = example.after or example.before
    place = told.uris[0] if told is not None and told.uris else ""
    lines = [f"{example.kind} {example.tenant_id} {example.asset_id} {place}"]
    for field in example.fields:
        lines.append(f"  {field}: {_said(example.before, field)} -> {_said(example.after, field)}")
    return lines


def _said(told: Told | None, field: str) -> str:
    said = getattr(told, field) if told is not None else None
    return ", ".join(said) if isinstance(said, tuple) else repr(said) if said else "nothing"
