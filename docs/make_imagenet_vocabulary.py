r"""Writes ecm/models/imagenet/*.tsv from WordNet 3.0 and a list of synset ids. Run once, by hand.

Knows WordNet's `data.noun` format and nothing of ecm. Sources: Debian's `wordnet-base`
(/usr/share/wordnet/data.noun) and the class order in timm's wheel
(timm/data/_info/imagenet_synsets.txt: 1,000 lines such as `n01440764`). WordNet's `cntlist.rev`
says how often each sense was met in tagged texts (SemCor): the measure of a usual word.

    pip download --no-deps timm && unzip timm-*.whl -d timm
    python docs/make_imagenet_vocabulary.py /usr/share/wordnet \
        timm/timm/data/_info/imagenet_synsets.txt ecm/models/imagenet
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

# The top of WordNet's noun tree: true of almost every photo, or words nobody uses for a thing seen.
# They stay in the tree (sums pass through them) without becoming tags.
UNNAMED = frozenset(
    {
        "abstraction", "area", "artifact", "attribute", "causal agent", "communication",
        "creation", "entity", "instrumentality", "living thing", "location", "material", "matter",
        "measure", "natural object", "object", "organism", "part", "physical entity", "piece",
        "relation", "shape", "substance", "support", "thing", "whole",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Synset:
    """One noun synset: words most usual first, ids of direct hypernyms, first sense of gloss.

    `count`: how often one of its words was met in this sense.
    """

    lemmas: tuple[str, ...]
    parents: tuple[str, ...]
    gloss: str
    count: int


def read_nouns(wordnet: Path) -> dict[str, Synset]:
    """All noun synsets of WordNet 3.0 (`data.noun`, `cntlist.rev`), by id `n` + offset."""
    met = {
        sense: int(count)
        for sense, _, count in map(str.split, (wordnet / "cntlist.rev").read_text().splitlines())
    }
    nouns = {}
    for line in (wordnet / "data.noun").read_text("ascii").splitlines():
        if line.startswith("  "):
            continue
        head, gloss = line.split(" | ", 1)
        fields = head.split()
        words = int(fields[3], 16)
        lemmas = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * words : 2])
        senses = [
            f"{word.lower()}%1:{fields[1]}:{int(place, 16):02d}::"
            for word, place in pairs_of(fields[4 : 4 + 2 * words])
        ]
        pointers = fields[5 + 2 * words :]
        links = zip(pointers[0::4], pointers[1::4], strict=False)
        parents = tuple("n" + target for symbol, target in links if symbol in ("@", "@i"))
        definition = re.split(r'; ?"', gloss.strip())[0].strip()
        count = sum(met.get(sense, 0) for sense in senses)
        nouns["n" + fields[0]] = Synset(lemmas, parents, definition, count)
    return nouns


def pairs_of(items: list[str]) -> list[tuple[str, str]]:
    """Neighbours two by two."""
    return list(zip(items[0::2], items[1::2], strict=True))


def ancestors_of(nouns: dict[str, Synset], synset: str) -> set[str]:
    """Every synset above `synset` along hypernym links."""
    found: set[str] = set()
    todo = list(nouns[synset].parents)
    while todo:
        current = todo.pop()
        if current not in found:
            found.add(current)
            todo.extend(nouns[current].parents)
    return found


def write_vocabulary(nouns: dict[str, Synset], classes: list[str], folder: Path) -> None:
    """Writes classes.tsv and ancestors.tsv, whose first lines name their columns."""
    rows = [
        "\t".join(
            (str(i), s, "|".join(nouns[s].parents), "|".join(nouns[s].lemmas), nouns[s].gloss)
        )
        for i, s in enumerate(classes)
    ]
    folder.joinpath("classes.tsv").write_text(
        "\n".join(["index\tsynset\tparents\tlemmas\tgloss", *rows]) + "\n", "utf-8"
    )
    above = sorted(set().union(*(ancestors_of(nouns, s) for s in classes)))
    rows = []
    for synset in above:
        entry = nouns[synset]
        named = "0" if entry.lemmas[0] in UNNAMED else "1"
        rows.append(
            "\t".join(
                (synset, named, str(entry.count), "|".join(entry.parents), "|".join(entry.lemmas))
            )
        )
    folder.joinpath("ancestors.tsv").write_text(
        "\n".join(["synset\tnamed\tcount\tparents\tlemmas", *rows]) + "\n", "utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wordnet", type=Path)
    parser.add_argument("class_order", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    classes = args.class_order.read_text("ascii").split()
    if len(classes) != 1000:
        raise SystemExit(f"{args.class_order}: {len(classes)} synset ids, expected 1000")
    write_vocabulary(read_nouns(args.wordnet), classes, args.folder)


if __name__ == "__main__":
    main()
