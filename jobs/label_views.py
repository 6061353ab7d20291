"""How what happened to a label set reads, for programs and for people. Opens nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from ecm.evaluation.labels.consensus import Consensus
    from ecm.evaluation.labels.publishing import NewVersion


def published_value(made: NewVersion) -> dict[str, object]:
    """What publishing made, for programs."""
    merged = made.merged
    return {
        "label_version": made.head.label_version if made.head is not None else None,
        "labels": len(merged.labels),
        "by_source": {source.value: count for source, count in merged.by_source.items()},
        "added": merged.added,
        "changed": merged.changed,
        "removed": merged.removed,
        "disputed": merged.disputed,
        "undecidable": merged.undecidable,
        "agreement": made.agreement.figures() if made.agreement is not None else None,
    }


def show_published(console: Console, name: str, made: NewVersion) -> None:
    """What publishing made, for people."""
    merged = made.merged
    if made.head is None:
        console.print(f"nothing is other than before: no new version of {name}")
    else:
        sources = ", ".join(f"{n} {source.value}" for source, n in sorted(merged.by_source.items()))
        console.print(f"{name}, version {made.head.label_version}: {sources or 'no labels'}")
        console.print(f"  {merged.added} added, {merged.changed} changed, {merged.removed} removed")
    if made.agreement is not None and made.agreement.reason:
        console.print(f"  agreement: {made.agreement.reason}")
    if merged.disputed:
        console.print(
            f"  {merged.disputed} pairs wait for a third person: "
            f"ecm evaluate labels serve {name} --labeler NAME"
        )
    if merged.undecidable:
        console.print(f"  {merged.undecidable} pairs could be settled by nobody: no label")


def consensus_value(found: Consensus) -> dict[str, object]:
    """How far labelers agree, for programs."""
    from dataclasses import asdict

    return {
        "kappa": found.kappa,
        "kind": found.kind,
        "lower": found.lower,
        "upper": found.upper,
        "ac1": found.of.ac1,
        "pabak": found.of.pabak,
        "raw": found.of.raw,
        "pairs": found.of.items,
        "far": found.far,
        "target": found.target,
        "enough": found.enough.value,
        "reason": found.reason,
        "two": [asdict(one) for one in found.two],
        "labelers": [asdict(one) for one in found.labelers],
        "queries": [asdict(one) for one in found.queries],
    }
