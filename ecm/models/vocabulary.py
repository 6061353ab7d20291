"""The 1,000 ImageNet classes with their WordNet 3.0 words, and the tree of more general words above
them.

Reads the two tables that docs/make_imagenet_vocabulary.py wrote. Knows no model and no probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecm.errors import ManifestError

CLASSES = 1000


@dataclass(frozen=True)
class ImageClass:
    """One class: WordNet synset id, words most usual first, gloss, ids of its direct hypernyms."""

    index: int
    synset: str
    lemmas: tuple[str, ...]
    gloss: str
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Ancestor:
    """A synset above at least one class. `named`: a word that people use for what they see."""

    synset: str
    lemmas: tuple[str, ...]
    named: bool
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """Classes by index, ancestors from special to general, and who is above whom.

    `members` is bool (ancestors, 1000): the classes below each ancestor.
    """

    classes: tuple[ImageClass, ...]
    ancestors: tuple[Ancestor, ...]
    members: npt.NDArray[np.bool_]


def load_vocabulary(classes_table: Path, ancestors_table: Path) -> Vocabulary:
    """The vocabulary of two tab-separated tables. Raises ManifestError when they do not fit
    together.
    """
    classes = tuple(
        ImageClass(int(index), synset, _split(lemmas), gloss, _split(parents))
        for index, synset, parents, lemmas, gloss in _rows(classes_table, 5)
    )
    if [entry.index for entry in classes] != list(range(CLASSES)):
        raise ManifestError(f"{classes_table}: expected classes 0 to {CLASSES - 1} in order")
    ancestors = {
        synset: Ancestor(synset, _split(lemmas), named == "1", _split(parents))
        for synset, named, parents, lemmas in _rows(ancestors_table, 4)
    }
    members = {synset: np.zeros(CLASSES, dtype=np.bool_) for synset in ancestors}
    for entry in classes:
        for synset in _above(entry, ancestors, ancestors_table):
            members[synset][entry.index] = True
    order = sorted(ancestors, key=lambda synset: (int(members[synset].sum()), synset))
    return Vocabulary(
        classes=classes,
        ancestors=tuple(ancestors[synset] for synset in order),
        members=np.array([members[synset] for synset in order]),
    )


def _above(entry: ImageClass, ancestors: dict[str, Ancestor], table: Path) -> set[str]:
    found: set[str] = set()
    todo = list(entry.parents)
    while todo:
        synset = todo.pop()
        if synset in found:
            continue
        if synset not in ancestors:
            raise ManifestError(f"{table}: lacks {synset}, which is above {entry.lemmas[0]}")
        found.add(synset)
        todo.extend(ancestors[synset].parents)
    return found


def _rows(table: Path, columns: int) -> list[list[str]]:
    rows = [line.split("\t") for line in table.read_text("utf-8").splitlines()[1:]]
    if not rows or any(len(row) != columns for row in rows):
        raise ManifestError(f"{table}: expected rows of {columns} tab-separated columns")
    return rows


def _split(field: str) -> tuple[str, ...]:
    return tuple(field.split("|")) if field else ()
