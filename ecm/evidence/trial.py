"""What an old and a new model said about the same assets, as values per asset, paired.

Reads the evidence of two transforms per task type, side by side, tenant by tenant, and keeps a
number or two of each asset. Judges nothing; changes nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.evidence.agreement import jaccard, overlap
from ecm.evidence.comparing import neighbourhoods
from ecm.evidence.paired import paired
from ecm.evidence.schema import vector_table
from ecm.evidence.speakers import Speaker
from ecm.evidence.store import EvidenceStore, of_assets
from ecm.evidence.tallies import Said

SPACES: Final[Mapping[TaskType, Space]] = {
    TaskType.VV_EMBED: Space.VV,
    TaskType.X_EMBED: Space.X,
    TaskType.MV_EMBED: Space.MV,
}
NEIGHBOURS: Final = 10
NEIGHBOUR_SAMPLE: Final = 300
SCORED: Final = 300
"""Captions per tenant that are brought into the visual space: the encoder runs on this machine."""

_REFUSAL: Final = re.compile(
    r"^\W*(i['\u2019]?m sorry|i am sorry|sorry,|as an ai\b|unfortunately, i\b|"
    r"i\s+(can(not|['\u2019]?t| not)|am (not able|unable)|['\u2019]m (not able|unable)|"
    r"do not see|don['\u2019]?t see|won['\u2019]?t|will not|must decline)\b|"
    r"(there is )?no (image|picture|photo)\b|unable to\b)",
    re.IGNORECASE,
)

Matrix = npt.NDArray[np.float32]
Encode = Callable[[Sequence[str]], Matrix]


@dataclass(frozen=True)
class Judge:
    """Brings captions into the space of image vectors of `transform`: both sides, alike.

    `centred`: image vectors are compared after their mean was taken away.
    """

    transform: str
    encode: Encode
    centred: bool = False


@dataclass
class Words:
    """What both sides said in words about n assets; lists are of the same n, in the same order."""

    empty: tuple[list[bool], list[bool]] = field(default_factory=lambda: ([], []))
    refused: tuple[list[bool], list[bool]] = field(default_factory=lambda: ([], []))
    repeated: tuple[list[bool], list[bool]] = field(default_factory=lambda: ([], []))
    characters: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    tags: tuple[list[frozenset[str]], list[frozenset[str]]] = field(
        default_factory=lambda: ([], [])
    )

    def __len__(self) -> int:
        return len(self.empty[0])


@dataclass
class Trial:
    """Everything measured of one step, over all tenants.

    `overlaps` has per space the shares of common neighbours beyond chance, `scores` the cosine of
    captions and images of both sides, where both have a caption. `complete` assets have evidence of
    every changed task type by the new model.
    """

    words: Words = field(default_factory=Words)
    overlaps: dict[Space, list[float]] = field(default_factory=dict)
    scores: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    complete: int = 0


@dataclass(frozen=True)
class Sides:
    """Fingerprints by task type of the old and of the new model, where they differ."""

    before: Mapping[TaskType, str]
    after: Mapping[TaskType, str]


def add_tenant(
    trial: Trial,
    store: EvidenceStore,
    tenant_id: str,
    sides: Sides,
    sample: Sequence[str],
    judge: Judge | None,
) -> None:
    """Add a tenant's sampled assets to a trial; `sample` is in the order of its drawing.

    Raises StoreCorrupt, StoreUnavailable, ResourceExhausted, and what the judge raises.
    """
    wanted = frozenset(sample)
    for kind, mark in sides.after.items():
        before = sides.before.get(kind)
        if before is None:
            continue
        a, b = (Speaker("transform", name, tenant_id) for name in (before, mark))
        with paired(store, a, b) as pair:
            if kind in (TaskType.VISION, TaskType.OCR):
                pairs = [(i, one, two) for i, one, two in pair.words() if i in wanted]
                if kind is TaskType.VISION:
                    _add_words(trial.words, pairs)
                    _add_scores(trial, store, tenant_id, pairs, sample, judge)
                continue
            for one, other in pair.spaces():
                places = pair.places(one, other)
                drawn = np.random.default_rng(0).permutation(len(places))[:NEIGHBOUR_SAMPLE]
                k = min(NEIGHBOURS, len(places) - 1)
                chance = k / (len(places) - 1) if k > 0 else 1.0
                if chance >= 1:
                    continue  # everything is everything's neighbour
                chosen = np.sort(places[drawn])
                left, right = (neighbourhoods(pair, rows, chosen, k) for rows in (one, other))
                shares = (overlap(left[place], right[place]) for place in left)
                trial.overlaps.setdefault(one.space, []).extend(
                    (share - chance) / (1 - chance) for share in shares
                )
    trial.complete += len(complete(store, tenant_id, sides.after) & wanted)


def complete(
    store: EvidenceStore, tenant_id: str, transforms: Mapping[TaskType, str]
) -> frozenset[str]:
    """The assets of a tenant of which there is evidence by every one of some transforms."""
    spoken = [_assets(store, tenant_id, kind, mark) for kind, mark in transforms.items()]
    return frozenset.intersection(*spoken) if spoken else frozenset()


def chance_corrected(
    left: Sequence[frozenset[str]], right: Sequence[frozenset[str]]
) -> npt.NDArray[np.float64] | None:
    """Jaccard of n pairs of sets beyond that of sets of different assets, 1 when all are equal.

    Chance is the mean over pairs that belong to different assets, by a shift of half their number;
    None where chance alone makes them equal, or nothing was said at all.
    """
    if len(left) < 2 or not any(left) or not any(right):
        return None
    half = len(left) // 2
    shifted = [*right[half:], *right[:half]]
    chance = float(np.mean([jaccard(a, b) for a, b in zip(left, shifted, strict=True)]))
    if chance >= 1:
        return None
    own = np.array([jaccard(a, b) for a, b in zip(left, right, strict=True)])
    return np.asarray((own - chance) / (1 - chance), dtype=np.float64)


def is_refusal(caption: str) -> bool:
    """Whether a caption says that there will be none.

    >>> is_refusal("I'm sorry, but I cannot describe this."), is_refusal("a sorry sight")
    (True, False)
    """
    return _REFUSAL.match(caption) is not None


def _add_words(words: Words, pairs: Sequence[tuple[str, Said, Said]]) -> None:
    looked = [(a, b) for _, a, b in pairs if a.looked and b.looked]
    for side in (0, 1):
        captions = [" ".join(both[side].caption.casefold().split()) for both in looked]
        said = Counter(hashlib.blake2b(c.encode(), digest_size=16).digest() for c in captions if c)
        words.empty[side].extend(not caption for caption in captions)
        words.refused[side].extend(is_refusal(caption) for caption in captions)
        words.repeated[side].extend(
            bool(c) and said[hashlib.blake2b(c.encode(), digest_size=16).digest()] > 1
            for c in captions
        )
        words.characters[side].extend(len(caption) for caption in captions)
        words.tags[side].extend(
            frozenset(tag.casefold() for tag, _ in both[side].tags) for both in looked
        )


def _add_scores(
    trial: Trial,
    store: EvidenceStore,
    tenant_id: str,
    pairs: Sequence[tuple[str, Said, Said]],
    sample: Sequence[str],
    judge: Judge | None,
) -> None:
    if judge is None:
        return
    first = frozenset(sample[:SCORED])
    spoken = {i: (a, b) for i, a, b in pairs if i in first and a.caption and b.caption}
    images = _vectors(store, tenant_id, judge.transform, spoken)
    ids = [asset_id for asset_id in spoken if asset_id in images]
    if not ids:
        return
    rows = np.stack([images[asset_id] for asset_id in ids]).astype(np.float64)
    if judge.centred:
        rows = rows - rows.mean(axis=0)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    for side in (0, 1):
        texts = judge.encode([spoken[asset_id][side].caption for asset_id in ids])
        trial.scores[side].extend((texts * rows).sum(axis=1).tolist())


def _vectors(
    store: EvidenceStore, tenant_id: str, transform: str, asset_ids: Collection[str]
) -> dict[str, Matrix]:
    name = vector_table(Space.VV, transform)
    if not store.has_table(name) or not asset_ids:
        return {}
    rows = store.read(name, ["asset_id", "vector"], of_assets(tenant_id, asset_ids))
    names = rows["asset_id"].to_pylist()
    return {
        asset_id: np.asarray(vector, dtype=np.float32)
        for asset_id, vector in zip(names, rows["vector"].to_pylist(), strict=True)
    }


def _assets(store: EvidenceStore, tenant_id: str, kind: TaskType, mark: str) -> frozenset[str]:
    """The assets of which a transform has evidence."""
    space = SPACES.get(kind)
    name = vector_table(space, mark) if space else "evidence_text"
    if not store.has_table(name):
        return frozenset()
    where = Speaker("transform", mark, tenant_id).where()
    return frozenset(pc.unique(store.read(name, ["asset_id"], where)["asset_id"]).to_pylist())
