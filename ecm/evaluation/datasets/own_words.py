"""Queries from the assets' own evidence: what is stored of them answers for itself.

Weak: what a model says may be wrong, and an engine that searches the same evidence has an easy
game. File names and what people wrote into files are facts. Knows known assets only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from ecm.contracts.evaluation import LabelSource, QueryKind, QuerySource
from ecm.evaluation.datasets.drafts import ABOUT_ASSET, EVIDENCE, Answer, Draft, group_of
from ecm.evaluation.datasets.from_files import caption_draft, type_of
from ecm.evaluation.datasets.known import KnownAsset, KnownAssets
from ecm.evaluation.datasets.things import Thing, things_of
from ecm.evaluation.datasets.words import content_words, normalised

OF_MODEL, OF_TEXT, OF_PERSON = 0.5, 0.8, 0.9
"""How sure the words of a model, words that were read in a picture, and those of people are."""
_LETTERS: Final = re.compile(r"[^\W\d_]{3,}")
_HEX: Final = re.compile(r"^[0-9a-f]+$")
_WRITTEN_WORDS: Final = 8
_LEAST_WORDS: Final = 2


def evident_things(known: KnownAssets) -> tuple[Thing, ...]:
    """Things by the classes that the evidence is sure of."""
    return things_of((asset.asset_id, asset.classes) for asset in known.by_id.values())


def evident_answers(known: KnownAssets) -> dict[str, Answer]:
    """What each asset answers with where only a model says what it shows."""
    return {
        asset_id: Answer(asset_id, 2, LabelSource.WEAK, EVIDENCE, OF_MODEL)
        for asset_id in known.by_id
    }


def evident_captions(known: KnownAssets, locale: str) -> Iterator[Draft]:
    """Captions that a captioner wrote; those put together from tags say nothing new."""
    for asset in known.by_id.values():
        if asset.caption and not asset.caption_composed:
            answer = Answer(asset.asset_id, 2, LabelSource.WEAK, EVIDENCE, OF_MODEL)
            yield caption_draft(asset.caption, answer, locale)


def known_items(known: KnownAssets, locale: str) -> Iterator[Draft]:
    """One asset by its file name, by what people wrote into the file, by words seen in it.

    Names that nobody would type (numbers, hexadecimal) and words that several assets have are left
    out: they name no one item.
    """
    names = Counter(normalised(asset.file_name) for asset in known.by_id.values())
    for asset in known.by_id.values():
        if names[normalised(asset.file_name)] == 1 and _typed(asset.file_name):
            yield _item(asset, asset.file_name, 1.0, locale)
    for told, weight in ((_user_words, OF_PERSON), (_seen_words, OF_TEXT)):
        said = {asset.asset_id: told(asset) for asset in known.by_id.values()}
        spread = Counter(said.values())
        for asset_id, words in said.items():
            if len(words.split()) >= _LEAST_WORDS and spread[words] == 1:
                yield _item(known.by_id[asset_id], words, weight, locale)


def _item(asset: KnownAsset, text: str, weight: float, locale: str) -> Draft:
    return Draft(
        text=text,
        kind=QueryKind.KNOWN_ITEM,
        query_type=type_of(QueryKind.KNOWN_ITEM, text),
        source=QuerySource.LABELS,
        group=group_of(ABOUT_ASSET, asset.asset_id),
        answers=(Answer(asset.asset_id, 2, LabelSource.WEAK, EVIDENCE, weight),),
        locale=locale,
        about=text,
    )


def _typed(name: str) -> bool:
    """Whether somebody would type a file name: it has a word, and is short."""
    stem = name.rsplit(".", 1)[0]
    words = [word for word in _LETTERS.findall(stem) if not _HEX.match(word.casefold())]
    return bool(words) and len(name) <= 40


def _user_words(asset: KnownAsset) -> str:
    """Of the first thing that was written: a title if there is one."""
    return " ".join((asset.user or "").partition("\n")[0].split()[:_WRITTEN_WORDS])


def _seen_words(asset: KnownAsset) -> str:
    return " ".join(content_words(asset.ocr or "")[:4])
