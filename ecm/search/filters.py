"""Which assets of a tenant a filter leaves, from facts in memory.

A condition on something that is not known of an asset does not hold for it, so that `must_not` of
it does. Where the whole snapshot cannot tell, that is an error, never an empty answer. Values are
compared as values: nothing here is text of a query language. Knows no index and no query.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import compress
from typing import Final, assert_never
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow.compute as pc

from ecm.contracts.filters import (
    AssetCondition,
    ClassCondition,
    ColourCondition,
    Condition,
    DateCondition,
    Filter,
    FormatCondition,
    HasCondition,
    NumberCondition,
    OrientationCondition,
    PathCondition,
    RunCondition,
    TagCondition,
)
from ecm.errors import QueryError
from ecm.evidence.allowed import Allowed
from ecm.search.facts import Facts
from ecm.search.label_sets import Floats, LabelSets
from ecm.search.traits import COLOURS, Mask, having, lacking_for, oriented

_FORMATS: Final = {"jpg": "jpeg", "jpe": "jpeg", "tif": "tiff", "jp2": "jpeg2000"}
"""What people say, and what decoders say."""
_FILE: Final = "file://"


def allowed_by(filter: Filter, facts: Facts) -> Allowed:
    """The assets for which the filter holds; the latest filters of a tenant are remembered.

    Raises QueryError `query.filter_unavailable` where the snapshot lacks what a condition needs.
    """
    key = hashlib.sha256(filter.model_dump_json().encode()).hexdigest()

    def compute() -> Allowed:
        return Allowed.in_order(compress(facts.asset_ids, mask_of(filter, facts).tolist()))

    return facts.remembered.get(key, len(facts), compute)


def mask_of(filter: Filter, facts: Facts) -> Mask:
    """For each asset whether the filter holds: bool (n,). Raises as `allowed_by`."""
    held = np.ones(len(facts), np.bool_)
    for node in filter.must:
        held &= _holds(node, facts)
    if filter.should:
        held &= _either([_holds(node, facts) for node in filter.should], facts)
    for node in filter.must_not:
        held &= ~_holds(node, facts)
    return held


def _holds(node: Condition | Filter, facts: Facts) -> Mask:
    match node:
        case Filter():
            return mask_of(node, facts)
        case TagCondition():
            return _labelled(node, facts.tags, facts)
        case ClassCondition():
            return _labelled(node, facts.classes, facts)
        case FormatCondition():
            names = {_FORMATS.get(n, n) for n in (each.casefold() for each in node.any)}
            codes = [c for c, name in enumerate(facts.formats.vocabulary) if name in names]
            return np.isin(facts.formats.codes, codes)
        case ColourCondition():
            return _coloured(node, facts)
        case OrientationCondition():
            each = [oriented(o, facts.width, facts.height) for o in node.any]
            return _either(each, facts)
        case NumberCondition():
            return _within(_numbers(node, facts), node.gte, node.lte)
        case DateCondition():
            return _dated(node, facts)
        case PathCondition():
            return _below(node.prefix, facts)
        case RunCondition():
            runs = facts.runs
            return _either((runs.holding(runs.code(run)) for run in node.any), facts)
        case HasCondition():
            _need(lacking_for(node.value), f"`has: {node.value.value}`", facts)
            return having(node.value, facts)
        case AssetCondition():
            found = facts.places(node.any)
            mask = np.zeros(len(facts), np.bool_)
            mask[found[found >= 0]] = True
            return mask
        case _:
            assert_never(node)


def _either(masks: Iterable[Mask], facts: Facts) -> Mask:
    held = np.zeros(len(facts), np.bool_)
    for mask in masks:
        held |= mask
    return held


def _labelled(condition: TagCondition | ClassCondition, labels: LabelSets, facts: Facts) -> Mask:
    def held_by(label: str) -> Mask:
        return labels.holding(labels.code(label.casefold()), condition.min_confidence)

    held = np.ones(len(labels), np.bool_)
    for label in condition.all:
        held &= held_by(label)
    if condition.any:
        held &= _either(map(held_by, condition.any), facts)
    return held


def _coloured(condition: ColourCondition, facts: Facts) -> Mask:
    if facts.colours is None:
        raise QueryError(
            "this snapshot cannot be filtered by colour: it has no structure vectors that tell",
            "query.filter_unavailable",
            "index with the structure model for x and build a new snapshot",
        )
    # Of a share that is not known (NaN) nothing is at least as large.
    enough = facts.colours >= np.float32(condition.min_share)
    held = np.ones(len(facts), np.bool_)
    for colour in condition.all:
        held &= enough[:, COLOURS.index(colour)]
    if condition.any:
        held &= enough[:, [COLOURS.index(colour) for colour in condition.any]].any(axis=1)
    return held


def _numbers(condition: NumberCondition, facts: Facts) -> Floats:
    match condition.field:
        case "width":
            return facts.width
        case "height":
            return facts.height
        case "pixels":
            return facts.width * facts.height
        case "bytes":
            _need("size", "`bytes`", facts)
            return facts.size
        case "confidence":
            return facts.confidence
        case _:
            assert_never(condition.field)


def _dated(condition: DateCondition, facts: Facts) -> Mask:
    _need(f"{condition.field}_at", f"`{condition.field}`", facts)
    match condition.field:
        case "taken":
            moments = facts.taken
        case "modified":
            moments = facts.modified
        case "added":
            moments = facts.added
        case _:
            assert_never(condition.field)
    held = _within(moments, _seconds(condition.gte), None)
    until = _seconds(condition.lt)
    return held if until is None else held & (moments < until)


def _within(values: Floats, least: float | None, most: float | None) -> Mask:
    """Which values are known and within the bounds, both inclusive: bool (n,)."""
    held = ~np.isnan(values)
    if least is not None:
        held &= values >= least
    if most is not None:
        held &= values <= most
    return held


def _seconds(moment: datetime | None) -> float | None:
    """Unix seconds; a moment without a zone is one of UTC."""
    if moment is None:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _below(prefix: str, facts: Facts) -> Mask:
    """Assets with a place whose URI starts with `prefix`, or whose path does if it is a file.

    URIs of files are compared without percent-encoding, a path as the file system has it.
    """
    plain = prefix.encode()
    patterns = [unquote_to_bytes(plain) if prefix.startswith(_FILE) else plain]
    if "://" not in prefix:
        patterns.append(_FILE.encode() + plain)
    rows = pc.list_parent_indices(facts.uris).to_numpy()
    held = np.zeros(len(facts), np.bool_)
    for pattern in patterns:
        starts = pc.starts_with(facts.uri_bytes, pattern=pattern)
        held[rows[starts.to_numpy(zero_copy_only=False)]] = True
    return held


def _need(column: str, what: str, facts: Facts) -> None:
    if column in facts.lacking:
        raise QueryError(
            f"this snapshot cannot be filtered by {what}: an older release built it",
            "query.filter_unavailable",
            "`ecm materialize` builds and publishes a new one",
        )
