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
    """A synset above at least one class.

    `named`: a word for a thing seen, not for a heading of the tree. `count`: how often the word was
    met in this sense in WordNet's tagged texts.
    """

    synset: str
    lemmas: tuple[str, ...]
    named: bool
    count: int
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """Classes by index, named ancestors, and who is above whom.

    `members` is bool (ancestors, 1000): the classes below each ancestor. Ancestors come in the
    order in which they should be said: words that are usual and stand for several classes before
    the others, and among each from special to general.
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
        synset: Ancestor(synset, _split(lemmas), named == "1", int(count), _split(parents))
        for synset, named, count, parents, lemmas in _rows(ancestors_table, 5)
    }
    members = {synset: np.zeros(CLASSES, dtype=np.bool_) for synset in ancestors}
    for entry in classes:
        for synset in _above(entry, ancestors, ancestors_table):
            members[synset][entry.index] = True
    said = sorted(
        (ancestor for ancestor in ancestors.values() if ancestor.named),
        key=lambda ancestor: _saying_order(ancestor, int(members[ancestor.synset].sum())),
    )
    return Vocabulary(
        classes=classes,
        ancestors=tuple(said),
        members=np.array([members[ancestor.synset] for ancestor in said]),
    )


def _saying_order(ancestor: Ancestor, classes: int) -> tuple[bool, int, str]:
    return (ancestor.count == 0 or classes == 1, classes, ancestor.synset)


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
